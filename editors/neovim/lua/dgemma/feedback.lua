---Tells the server what became of what it offered; it counts that, on this machine alone.
local M = {}

local ACCEPTED = 'dgemma.accepted'

---The server's number of an item.
---@param item dgemma.Item
---@return integer?
function M.offer(item)
  local command = item.command
  local id = command and command.command == ACCEPTED and (command.arguments or {})[1]
  return type(id) == 'number' and id --[[@as integer]] or nil
end

---@param found vim.lsp.Client?
---@param method string
---@param item dgemma.Item
---@param more? table
local function tell(found, method, item, more)
  local id = M.offer(item)
  if found and id then
    -- A method of ours is in no list of LSP's, whose types the client is annotated with.
    ---@diagnostic disable-next-line: param-type-mismatch
    found:notify(method, vim.tbl_extend('error', { id = id }, more or {}))
  end
end

---It is on the screen; told once for each.
---@param found vim.lsp.Client?
---@param item dgemma.Item
function M.shown(found, item)
  if not item.told then
    item.told = true
    tell(found, 'dgemma/didShow', item)
  end
end

---Its beginning was taken.
---@param found vim.lsp.Client?
---@param item dgemma.Item
---@param taken string What of this item's text is in the buffer now.
function M.partly(found, item, taken)
  item.touched = true
  local length = (item.before or 0) + vim.str_utfindex(taken, 'utf-32')
  tell(found, 'dgemma/didPartiallyAccept', item, { length = length })
end

---It was dismissed, or something else was typed. Of what was partly taken that says nothing.
---@param found vim.lsp.Client?
---@param item dgemma.Item
---@param why 'dismissed'|'typed'
---@return boolean rejected
function M.rejected(found, item, why)
  if item.touched or not item.told or item.refused then
    return false
  end
  item.refused = true
  tell(found, 'dgemma/didReject', item, { why = why })
  return true
end

return M
