---Draws the text that is proposed at the cursor. Knows extmarks; not where the text comes from.
local M = {}

local namespace = vim.api.nvim_create_namespace('dgemma.ghost')

---@class dgemma.Layout
---@field chunks [string, string][] At the cursor.
---@field overlay boolean Whether they cover the text after the cursor, drawn at their end then.
---@field below [string, string][][] Lines under the cursor's.

---@param text string One line.
---@param tabstop integer
---@param column integer Screen column the text begins at, from 0.
---@return string
function M.expanded(text, tabstop, column)
  local made = {}
  for piece, tab in text:gmatch('([^\t]*)(\t?)') do
    local shown = vim.fn.strtrans(piece)
    made[#made + 1] = shown
    column = column + vim.fn.strdisplaywidth(shown)
    if tab ~= '' then
      local width = tabstop - column % tabstop
      made[#made + 1] = (' '):rep(width)
      column = column + width
    end
  end
  return table.concat(made)
end

---Lay out a suggestion. One of several lines in the middle of a line covers what stands after the
---cursor and repeats it at its end, which is where it will be once the suggestion is accepted.
---@param text string
---@param after string The line after the cursor.
---@param tabstop integer
---@param column integer Screen column of the cursor, from 0.
---@param hint? string Shown after the text.
---@return dgemma.Layout
function M.layout(text, after, tabstop, column, hint)
  local lines = vim.split(text, '\n', { plain = true })
  local first = M.expanded(lines[1], tabstop, column)
  ---@type dgemma.Layout
  local layout = { chunks = { { first, 'DgemmaGhost' } }, overlay = false, below = {} }
  for number = 2, #lines do
    local shown = M.expanded(lines[number], tabstop, 0)
    -- A line without any text would not be drawn.
    layout.below[number - 1] = { { shown == '' and ' ' or shown, 'DgemmaGhost' } }
  end
  if #lines > 1 and after ~= '' then
    local old = M.expanded(after, tabstop, column)
    local missing = vim.fn.strdisplaywidth(old) - vim.fn.strdisplaywidth(first)
    if missing > 0 then
      table.insert(layout.chunks, { (' '):rep(missing), 'Normal' })
    end
    layout.overlay = true
    local last = layout.below[#lines - 1]
    local at = vim.fn.strdisplaywidth(M.expanded(lines[#lines], tabstop, 0))
    if lines[#lines] == '' then
      last[1][1] = ''
    end
    table.insert(last, { M.expanded(after, tabstop, at), 'Normal' })
  end
  if hint then
    local chunk = { ' ' .. hint, 'DgemmaHint' }
    if #lines > 1 then
      table.insert(layout.below[#lines - 1], chunk)
    elseif after == '' then
      table.insert(layout.chunks, chunk)
    end
  end
  return layout
end

---Draw a text at a place of a buffer in place of what was drawn before.
---@param buf integer
---@param row integer From 0.
---@param col integer Bytes.
---@param text string
---@param hint? string
function M.show(buf, row, col, text, hint)
  local line = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ''
  local column = vim.fn.strdisplaywidth(line:sub(1, col))
  local layout = M.layout(text, line:sub(col + 1), vim.bo[buf].tabstop, column, hint)
  vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  vim.api.nvim_buf_set_extmark(buf, namespace, row, col, {
    virt_text = layout.chunks,
    virt_text_pos = layout.overlay and 'overlay' or 'inline',
    virt_lines = #layout.below > 0 and layout.below or nil,
    hl_mode = 'combine',
    strict = false,
  })
end

---@param buf integer
function M.clear(buf)
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  end
end

return M
