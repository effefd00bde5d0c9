---Parts of a suggestion, and what is left of one while it is typed. Pure but for 'iskeyword'.
local M = {}

---The next word with the blanks before it: keyword characters, or a run of other marks.
---@param text string
---@return string
function M.word(text)
  -- Blanks may be line breaks: a word at the start of the next line brings its indentation.
  local found = vim.fn.matchstr(text, [[^\_s*\%(\k\+\|\%(\k\@!\_s\@!\_.\)\+\)]])
  return found ~= '' and found or text
end

---The rest of the line; when that is empty, the next line with the line break before it.
---@param text string
---@return string
function M.line(text)
  return text:match('^\n?[^\n]*') --[[@as string]]
end

---What is left of a text after its beginning was typed.
---@param text string
---@param typed string
---@return string? rest Nil when something else was typed.
function M.rest(text, typed)
  if text:sub(1, #typed) == typed then
    return text:sub(#typed + 1)
  end
end

---Where suggestions were asked for, and the text around it.
---@class dgemma.Anchor
---@field buf integer
---@field row integer From 0.
---@field col integer Bytes.
---@field before string The line up to there.
---@field after string The line from there on.
---@field count integer Lines of the buffer.
---@field tick integer The buffer's `changedtick`.
---@field version integer The version that the server knows the text by.
---@field rows integer Line breaks typed since.
---@field foreign boolean Whether anything else of the buffer was changed since.

---What was typed at an anchor since, when nothing else of its lines has changed.
---@param anchor dgemma.Anchor
---@param lines string[] From the anchor's line to the cursor's.
---@param count integer Lines of the buffer now.
---@param col integer The cursor's, in bytes.
---@return string? typed Nil when the text around the anchor is another one.
function M.typed(anchor, lines, count, col)
  local added = #lines - 1
  if added < 0 or anchor.foreign or count ~= anchor.count + added then
    return nil
  end
  local last = lines[#lines]
  if lines[1]:sub(1, anchor.col) ~= anchor.before or last:sub(col + 1) ~= anchor.after then
    return nil
  end
  if added == 0 then
    return col >= anchor.col and last:sub(anchor.col + 1, col) or nil
  end
  local parts = vim.list_slice(lines)
  parts[1] = parts[1]:sub(anchor.col + 1)
  parts[#parts] = last:sub(1, col)
  return table.concat(parts, '\n')
end

return M
