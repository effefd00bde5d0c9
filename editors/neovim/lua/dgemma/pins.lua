---Pinned lines: a rewrite keeps them as they are, byte for byte.
local client = require('dgemma.client')

local M = {}

local namespace = vim.api.nvim_create_namespace('dgemma.pins')

---@param buf integer
---@param first integer From 0.
---@param last integer From 0, the last one itself.
---@return table<integer, integer> marks By row.
local function marks(buf, first, last)
  local found = vim.api.nvim_buf_get_extmarks(
    buf,
    namespace,
    { first, 0 },
    { last, -1 },
    { details = true }
  )
  local rows = {} ---@type table<integer, integer>
  for _, mark in ipairs(found) do
    if not mark[4].invalid then
      rows[mark[2]] = mark[1]
    end
  end
  return rows
end

---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
---@return integer[] rows Those that are pinned, in order.
function M.rows(buf, first, last)
  local rows = vim.tbl_keys(marks(buf, first, last))
  table.sort(rows)
  return rows
end

---Pin lines; when all of them are pinned already, unpin them.
---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
---@return integer pinned How many of the lines are pinned now.
function M.toggle(buf, first, last)
  local there = marks(buf, first, last)
  if vim.tbl_count(there) == last - first + 1 then
    M.clear(buf, first, last)
    return 0
  end
  for row = first, last do
    if not there[row] then
      local line = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ''
      vim.api.nvim_buf_set_extmark(buf, namespace, row, 0, {
        end_row = row,
        end_col = #line,
        sign_text = '▐',
        sign_hl_group = 'DgemmaPin',
        -- With its line it goes, and with its line it comes back.
        invalidate = #line > 0,
        undo_restore = true,
      })
    end
  end
  return last - first + 1
end

---@param buf integer
---@param first integer From 0.
---@param last integer From 0; -1 is the last line.
function M.clear(buf, first, last)
  local stop = last < 0 and vim.api.nvim_buf_line_count(buf) - 1 or last
  for _, mark in pairs(marks(buf, first, stop)) do
    vim.api.nvim_buf_del_extmark(buf, namespace, mark)
  end
end

---The pinned lines within some lines, as ranges; neighbours are one.
---@param found vim.lsp.Client
---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
---@return lsp.Range[]
function M.ranges(found, buf, first, last)
  local ranges = {} ---@type lsp.Range[]
  local start, stop ---@type integer?, integer?
  for _, row in ipairs(M.rows(buf, first, last)) do
    if stop and row == stop + 1 then
      stop = row
    else
      if start and stop then
        ranges[#ranges + 1] = client.lines(found, buf, start, stop)
      end
      start, stop = row, row
    end
  end
  if start and stop then
    ranges[#ranges + 1] = client.lines(found, buf, start, stop)
  end
  return ranges
end

return M
