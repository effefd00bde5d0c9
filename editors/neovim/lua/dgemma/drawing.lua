---Draws places with the texts for them: what goes is highlighted, what comes is drawn beside it.
local ghost = require('dgemma.ghost')
local places = require('dgemma.places')

local M = {}

local namespace = vim.api.nvim_create_namespace('dgemma.diff')

---@param text string
---@param tabstop integer
---@return string
local function shown(text, tabstop)
  local made = ghost.expanded(text, tabstop, 0)
  return made == '' and ' ' or made -- a line without any text would not be drawn
end

---@param lines string[]
---@param tabstop integer
---@return [string, string][][]
local function added(lines, tabstop)
  return vim.tbl_map(function(line)
    return { { shown(line, tabstop), 'DgemmaAdd' } }
  end, lines)
end

---@param buf integer
---@param place dgemma.Place
---@param hint string
local function lines(buf, place, hint)
  local at = places.where(buf, place)
  local below = added(place.new, vim.bo[buf].tabstop)
  if #place.old == 0 then
    table.insert(below[1], { ' ' .. hint, 'DgemmaHint' })
    vim.api.nvim_buf_set_extmark(buf, namespace, math.max(at.first - 1, 0), 0, {
      virt_lines = below,
      virt_lines_above = at.first == 0,
    })
    return
  end
  vim.api.nvim_buf_set_extmark(buf, namespace, at.first, 0, {
    end_row = at.last,
    hl_group = 'DgemmaDelete',
    hl_eol = true,
    virt_text = { { ' ' .. hint, 'DgemmaHint' } },
    virt_text_pos = 'eol',
    strict = false,
  })
  if #below > 0 then
    vim.api.nvim_buf_set_extmark(buf, namespace, at.last - 1, 0, { virt_lines = below })
  end
end

---@param buf integer
---@param place dgemma.Place
---@param hint? string Nil where the line has one already.
local function text(buf, place, hint)
  local at = places.where(buf, place)
  local tabstop = vim.bo[buf].tabstop
  if at.first ~= at.last or at.from ~= at.to then
    vim.api.nvim_buf_set_extmark(buf, namespace, at.first, at.from, {
      end_row = at.last,
      end_col = at.to,
      hl_group = 'DgemmaDelete',
    })
  end
  local below = added(vim.list_slice(place.new, 2), tabstop)
  vim.api.nvim_buf_set_extmark(buf, namespace, at.last, at.to, {
    virt_text = place.new[1] ~= '' and { { shown(place.new[1], tabstop), 'DgemmaAdd' } } or nil,
    virt_text_pos = 'inline',
    virt_lines = #below > 0 and below or nil,
  })
  if hint then
    vim.api.nvim_buf_set_extmark(buf, namespace, at.first, 0, {
      virt_text = { { ' ' .. hint, 'DgemmaHint' } },
      virt_text_pos = 'eol',
    })
  end
end

---@param buf integer
function M.clear(buf)
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  end
end

---Draw places in place of what was drawn in the buffer before.
---@param buf integer
---@param open dgemma.Place[]
---@param title string
---@param choices string What one can do, for a person.
function M.draw(buf, open, title, choices)
  M.clear(buf)
  local hinted ---@type integer? The last line with a hint.
  for number, place in ipairs(open) do
    local hint = ('%d/%d %s: %s'):format(number, #open, title, choices)
    if place.whole and not place.redone then
      lines(buf, place, hint)
    elseif not place.redone then
      local row = places.where(buf, place).first
      text(buf, place, row ~= hinted and hint or nil)
      hinted = row
    end
  end
end

return M
