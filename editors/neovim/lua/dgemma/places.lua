---Places of a buffer that a text was made for: followed while the rest of the buffer is edited, and
---given up as soon as the text there is another one.
local M = {}

local namespace = vim.api.nvim_create_namespace('dgemma.places')

---@class dgemma.Token
---@field start integer Characters of the text before it.
---@field end integer
---@field probability number When it was accepted, 0 to 1.

---A place and the text for it. Of whole lines, both are lists of lines that may be empty; of other
---text they are its pieces between line breaks, of which there is at least one.
---@class dgemma.Place
---@field id integer
---@field whole boolean Whether it is of whole lines.
---@field old string[]
---@field new string[]
---@field tokens dgemma.Token[] Of the new text; empty where they are not known.
---@field raw? string The new text as the server has it.
---@field mark? integer
---@field redone? boolean Whether another text for it is being made.

---Where a place is now: from 0, columns in bytes; for whole lines the last row is not in it.
---@class dgemma.Where
---@field first integer
---@field from integer
---@field last integer
---@field to integer

---Follow a place from now on.
---@param buf integer
---@param place dgemma.Place
---@param row integer
---@param col integer
function M.track(buf, place, row, col)
  -- Its start is enough: where it ends follows from the text that must be there.
  place.mark = vim.api.nvim_buf_set_extmark(buf, namespace, row, col, { strict = false })
end

---@param buf integer
---@param place dgemma.Place
function M.forget(buf, place)
  if place.mark and vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_del_extmark(buf, namespace, place.mark)
  end
end

---@param buf integer
---@param place dgemma.Place
---@return dgemma.Where
function M.where(buf, place)
  local at = vim.api.nvim_buf_get_extmark_by_id(buf, namespace, place.mark or 0, {})
  local row, col = at[1] or 0, at[2] or 0
  if place.whole then
    return { first = row, from = 0, last = row + #place.old, to = 0 }
  end
  local pieces = place.old
  local to = (#pieces == 1 and col or 0) + #pieces[#pieces]
  return { first = row, from = col, last = row + #pieces - 1, to = to }
end

---Whether the text at a place is still the one that its new text was made for.
---@param buf integer
---@param place dgemma.Place
---@return boolean
function M.holds(buf, place)
  local at = M.where(buf, place)
  if place.whole then
    local now = vim.api.nvim_buf_get_lines(buf, at.first, at.last, false)
    return vim.deep_equal(now, place.old)
  end
  local lines = vim.api.nvim_buf_get_lines(buf, at.first, at.last + 1, false)
  if #lines ~= #place.old or #lines[#lines] < at.to or #lines[1] < at.from then
    return false
  end
  lines[#lines] = lines[#lines]:sub(1, at.to)
  lines[1] = lines[1]:sub(at.from + 1)
  return vim.deep_equal(lines, place.old)
end

---Put the new text in, as part of the undo step that is open.
---@param buf integer
---@param place dgemma.Place
function M.put(buf, place)
  local at = M.where(buf, place)
  if place.whole then
    vim.api.nvim_buf_set_lines(buf, at.first, at.last, false, place.new)
  else
    vim.api.nvim_buf_set_text(buf, at.first, at.from, at.last, at.to, place.new)
  end
end

---Close the undo step that is open, so that the next change begins one of its own.
---@param buf integer
function M.break_undo(buf)
  -- Setting the option is what closes a step; see |undo-break|.
  vim.bo[buf].undolevels = vim.bo[buf].undolevels
end

---A text of the server in lines.
---@param text string
---@return string[]
function M.split(text)
  return vim.split((text:gsub('\r\n?', '\n')), '\n', { plain = true })
end

return M
