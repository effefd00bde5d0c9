---Puts a suggestion, or its next word or line, into the buffer: one step to undo, and no more.
local client = require('dgemma.client')
local suggest = require('dgemma.suggest')
local words = require('dgemma.words')

local M = {}

---Close the undo step that is open, so that the next change begins one of its own.
local function break_undo()
  -- Setting the option is what closes a step; see |undo-break|.
  vim.bo.undolevels = vim.bo.undolevels
end

---@param part fun(rest: string): string What to take of the rest.
---@return boolean accepted Whether there was something.
local function take(part)
  local suggestion, rest = suggest.shown()
  if not suggestion or not rest then
    return false
  end
  local buf = suggestion.anchor.buf
  local text = part(rest)
  local row, col = unpack(vim.api.nvim_win_get_cursor(0))
  local lines = vim.split(text, '\n', { plain = true })
  break_undo()
  vim.api.nvim_buf_set_text(buf, row - 1, col, row - 1, col, lines)
  local last = #lines == 1 and col + #text or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + #lines - 1, last })
  break_undo()
  if #text < #rest then
    suggest.update()
    return true
  end
  local command = suggestion.items[suggestion.index].command
  suggest.taken()
  local found = client.get(buf)
  if command and found then
    client.execute(found, command, buf)
  end
  return true
end

---@return boolean
function M.all()
  return take(function(rest)
    return rest
  end)
end

---@return boolean
function M.word()
  return take(words.word)
end

---@return boolean
function M.line()
  return take(words.line)
end

return M
