---Hunks as the server tells them, made places of a buffer.
local client = require('dgemma.client')
local places = require('dgemma.places')

local M = {}

---@class dgemma.HunkResult
---@field id integer
---@field range lsp.Range
---@field oldText string
---@field newText string
---@field tokens dgemma.Token[]

---@param text string
---@return string[] lines
local function whole_lines(text)
  local lines = places.split(text)
  if lines[#lines] == '' then
    table.remove(lines)
  end
  return lines
end

---@param found vim.lsp.Client
---@param buf integer
---@param hunk dgemma.HunkResult
---@param shift integer Lines that the place has moved since.
---@return dgemma.Place? place Nil when another text is there.
local function place_of(found, buf, hunk, shift)
  local start = hunk.range.start
  local row = start.line + shift
  -- A line put behind the last one, where that has no line break, begins within it.
  local whole = start.character == 0
  local place = {
    id = hunk.id,
    whole = whole,
    old = whole and whole_lines(hunk.oldText) or places.split(hunk.oldText),
    new = whole and whole_lines(hunk.newText) or places.split(hunk.newText),
    raw = hunk.newText,
    tokens = hunk.tokens or {},
  } ---@type dgemma.Place
  if row < 0 or row > vim.api.nvim_buf_line_count(buf) then
    return nil
  end
  local col = whole and 0 or client.column(found, buf, { line = row, character = start.character })
  places.track(buf, place, row, col)
  if not places.holds(buf, place) then
    places.forget(buf, place)
    return nil
  end
  return place
end

---@param found vim.lsp.Client
---@param buf integer
---@param hunks dgemma.HunkResult[]
---@param shift integer
---@return dgemma.Place[]? made Nil when one of them does not fit.
function M.places(found, buf, hunks, shift)
  local made = {} ---@type dgemma.Place[]
  for _, hunk in ipairs(hunks) do
    local place = place_of(found, buf, hunk, shift)
    if not place then
      for _, each in ipairs(made) do
        places.forget(buf, each)
      end
      return nil
    end
    made[#made + 1] = place
  end
  return made
end

return M
