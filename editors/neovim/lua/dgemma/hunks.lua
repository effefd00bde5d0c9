---The difference of two texts in lines, as hunks that can be taken one by one; and edits of LSP
---applied to lines. Pure.
local M = {}

---@class dgemma.Hunk
---@field start integer First old line, from 0; for an insertion the line it goes before.
---@field count integer Old lines it takes away.
---@field lines string[] New lines in their place.

---@param lines string[]
---@return string
local function joined(lines)
  return #lines == 0 and '' or table.concat(lines, '\n') .. '\n'
end

---@param old string[]
---@param new string[]
---@return dgemma.Hunk[] hunks First to last.
function M.between(old, new)
  local diff = (vim.text and vim.text.diff) or vim.diff
  local indices = diff(joined(old), joined(new), {
    result_type = 'indices',
    algorithm = 'histogram',
  }) --[[@as integer[][] ]]
  return vim.tbl_map(function(each)
    local start, count, first, added = unpack(each)
    return {
      -- Without old lines the diff names the line before.
      start = count == 0 and start or start - 1,
      count = count,
      lines = vim.list_slice(new, first, first + added - 1),
    }
  end, indices)
end

---@param lines string[]
---@param hunks dgemma.Hunk[] First to last.
---@return string[]
function M.apply(lines, hunks)
  local made, at = {}, 0
  for _, hunk in ipairs(hunks) do
    vim.list_extend(made, lines, at + 1, hunk.start)
    vim.list_extend(made, hunk.lines)
    at = hunk.start + hunk.count
  end
  return vim.list_extend(made, lines, at + 1)
end

---One change of a text: from a place to a place, in lines from 0 and bytes.
---@class dgemma.Change
---@field first integer
---@field from integer
---@field last integer
---@field to integer
---@field text string With LSP's line breaks.

---Apply changes that do not overlap.
---@param lines string[]
---@param changes dgemma.Change[]
---@return string[]
function M.changed(lines, changes)
  local made = vim.list_slice(lines)
  table.sort(changes, function(a, b)
    return a.first > b.first or (a.first == b.first and a.from > b.from)
  end)
  for _, change in ipairs(changes) do
    local before = (made[change.first + 1] or ''):sub(1, change.from)
    local after = (made[change.last + 1] or ''):sub(change.to + 1)
    local text = change.text:gsub('\r\n?', '\n')
    local new = vim.split(before .. text .. after, '\n', { plain = true })
    if change.last >= #made and new[#new] == '' then
      table.remove(new) -- the line break that ends the last line
    end
    for _ = change.first, math.min(change.last, #made - 1) do
      table.remove(made, change.first + 1)
    end
    for offset, line in ipairs(new) do
      table.insert(made, change.first + offset, line)
    end
  end
  return made
end

return M
