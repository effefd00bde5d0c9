---Small windows with text to read. Knows nothing of dgemma.
local M = {}

---@param lines string[]
---@param name string
---@return integer buf
local function scratch(lines, name)
  local buf = vim.api.nvim_create_buf(false, true)
  vim.api.nvim_buf_set_lines(buf, 0, -1, false, lines)
  vim.bo[buf].bufhidden = 'wipe'
  vim.bo[buf].filetype = name
  vim.keymap.set('n', 'q', '<Cmd>close<CR>', { buffer = buf, nowait = true, desc = 'Close' })
  return buf
end

---Show lines in a window over the others; `q` closes it.
---@param lines string[]
---@param title string
function M.float(lines, title)
  local width = #title + 2
  for _, line in ipairs(lines) do
    width = math.max(width, vim.fn.strdisplaywidth(line))
  end
  width = math.max(1, math.min(width, vim.o.columns - 4))
  local height = 0
  for _, line in ipairs(lines) do
    height = height + math.max(1, math.ceil(vim.fn.strdisplaywidth(line) / width))
  end
  height = math.max(1, math.min(height, vim.o.lines - 4))
  vim.api.nvim_open_win(scratch(lines, 'dgemma'), true, {
    relative = 'editor',
    width = width,
    height = height,
    row = math.floor((vim.o.lines - height) / 2) - 1,
    col = math.floor((vim.o.columns - width) / 2),
    style = 'minimal',
    border = 'rounded',
    title = ' ' .. title .. ' ',
  })
  vim.wo.wrap = true
end

---Show lines in a split below.
---@param lines string[]
---@return integer buf
function M.split(lines)
  local buf = scratch(lines, 'dgemma')
  vim.cmd('botright split')
  vim.api.nvim_win_set_buf(0, buf)
  return buf
end

return M
