---Whether suggestions may be asked for and shown now: switches, modes, snoozing, menus.
local client = require('dgemma.client')
local config = require('dgemma.config')

local M = {}

---When snoozing ends, in milliseconds of the loop's clock.
local snoozed_until = 0

---@param minutes number Nothing is asked for so long; 0 ends it.
function M.snooze(minutes)
  snoozed_until = vim.uv.now() + math.floor(minutes * 60000)
end

---@return integer minutes Left to snooze, rounded up.
function M.snoozed()
  return math.max(0, math.ceil((snoozed_until - vim.uv.now()) / 60000))
end

---@param value any `vim.g.dgemma_enabled` or that of a buffer; unset means on.
local function is_on(value)
  return value == nil or (value ~= false and value ~= 0)
end

---@type table<string, vim.lpeg.Pattern>
local globs = setmetatable({}, {
  __index = function(self, glob)
    local pattern = vim.glob.to_lpeg(glob)
    rawset(self, glob, pattern)
    return pattern
  end,
})

---Whether the options leave a buffer its suggestions: its file type, and its file.
---@param buf integer
---@return boolean
local function wanted(buf)
  local options = config.get()
  local of_type = options.filetypes[vim.bo[buf].filetype]
  if of_type == nil then
    of_type = options.filetypes['*']
  end
  if of_type == false then
    return false
  end
  local path = vim.fs.normalize(vim.api.nvim_buf_get_name(buf))
  for _, glob in ipairs(options.exclude) do
    if globs[glob]:match(path) then
      return false
    end
  end
  return true
end

---Whether suggestions are switched on for a buffer; what is said of it alone goes before the rest.
---@param buf integer
---@return boolean
function M.enabled(buf)
  local own = vim.b[buf].dgemma_enabled
  if own == nil and not wanted(buf) then
    return false
  end
  return is_on(vim.g.dgemma_enabled) and is_on(own)
end

---@param buf integer
---@return 'automatic'|'manual'|'off'
function M.mode(buf)
  local found = client.get(buf)
  return vim.tbl_get(found and found.settings or {}, 'dgemma', 'mode') or 'automatic'
end

---Whether Neovim's own inline completion draws the suggestions of a buffer.
---@param buf integer
---@return boolean
function M.builtin(buf)
  local own = vim.lsp.inline_completion
  return own ~= nil and own.is_enabled({ bufnr = buf })
end

---Whether the completion menu has an item selected, whose text is then in the buffer on trial.
---@return boolean
local function menu_selected()
  return vim.fn.pumvisible() == 1 and vim.fn.complete_info({ 'selected' }).selected ~= -1
end

---Why no suggestion may be shown in a buffer now, or nil when one may.
---@param buf integer
---@return string? reason For a person.
function M.closed(buf)
  if vim.bo[buf].buftype ~= '' or not vim.bo[buf].modifiable then
    return 'suggestions are for normal file buffers'
  elseif not client.get(buf) then
    return 'the language server is not attached to this buffer'
  elseif not M.enabled(buf) then
    return 'suggestions are switched off here (:Dgemma enable)'
  elseif M.mode(buf) == 'off' then
    return 'the mode is off (:Dgemma mode auto)'
  elseif M.builtin(buf) then
    return "Neovim's own inline completion shows suggestions in this buffer"
  elseif vim.api.nvim_get_current_buf() ~= buf or vim.fn.mode():sub(1, 1) ~= 'i' then
    return 'suggestions are for insert mode'
  elseif menu_selected() or config.get().hide() then
    return 'a completion menu is open'
  end
end

---Whether to ask by oneself in a buffer in which one may.
---@param buf integer
---@return boolean
function M.automatic(buf)
  return M.mode(buf) == 'automatic' and M.snoozed() == 0 and vim.fn.reg_executing() == ''
end

return M
