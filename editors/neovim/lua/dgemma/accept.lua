---Puts a suggestion, or its next word or line, into the buffer: one step to undo, and no more.
local client = require('dgemma.client')
local confidence = require('dgemma.confidence')
local feedback = require('dgemma.feedback')
local places = require('dgemma.places')
local suggest = require('dgemma.suggest')
local words = require('dgemma.words')

local M = {}

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
  places.break_undo(buf)
  vim.api.nvim_buf_set_text(buf, row - 1, col, row - 1, col, lines)
  local last = #lines == 1 and col + #text or #lines[#lines]
  vim.api.nvim_win_set_cursor(0, { row + #lines - 1, last })
  places.break_undo(buf)
  local item, anchor = suggestion.items[suggestion.index], suggestion.anchor
  local found = client.get(buf)
  if #text < #rest then
    feedback.partly(found, item, item.text:sub(1, #item.text - #rest + #text))
    suggest.update()
    return true
  end
  suggest.taken()
  if item.command and found then
    client.execute(found, item.command, buf)
  end
  confidence.accepted_offer(buf, anchor.row, anchor.col, item.text, feedback.offer(item))
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
