---What an answer offers, and what is left of it as it is taken and typed.
local client = require('dgemma.client')

local M = {}

---@class dgemma.Item
---@field text string
---@field command? lsp.Command
---@field before? integer Characters of the server's text that were taken before this rest of it.
---@field told? boolean Whether the server knows that it was shown.
---@field touched? boolean Whether its beginning was taken.
---@field refused? boolean Whether it was dismissed, or something else typed.

---The items of an answer that only insert at the cursor, with the editor's line breaks.
---@param found vim.lsp.Client
---@param anchor dgemma.Anchor
---@param result any
---@return dgemma.Item[]
function M.of(found, anchor, result)
  local items = {} ---@type dgemma.Item[]
  for _, item in ipairs(result and (result.items or result) or {}) do
    local range, text = item.range, item.insertText
    local here = not range
      or (
        vim.deep_equal(range.start, range['end'])
        and range.start.line == anchor.row
        and client.column(found, anchor.buf, range.start) == anchor.col
      )
    if here and type(text) == 'string' and text ~= '' then
      items[#items + 1] = { text = (text:gsub('\r\n?', '\n')), command = item.command }
    end
  end
  return items
end

---Put the rest of an earlier suggestion before newer ones for the place it has come to.
---@param earlier dgemma.Suggestion
---@param rest string
---@param items dgemma.Item[]
---@return dgemma.Item[]
function M.merged(earlier, rest, items)
  local item = earlier.items[earlier.index]
  local gone = item.text:sub(1, #item.text - #rest)
  local all = {
    {
      text = rest,
      command = item.command,
      before = (item.before or 0) + vim.str_utfindex(gone, 'utf-32'),
      told = item.told,
      touched = item.touched,
      refused = item.refused,
    },
  } ---@type dgemma.Item[]
  for _, item in ipairs(items) do
    if item.text ~= rest then
      all[#all + 1] = item
    end
  end
  return all
end

return M
