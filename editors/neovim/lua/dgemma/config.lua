---The plugin's own options: their types, defaults and checks. The server's settings are not here
---but in `settings`, which goes to the server as it is (docs/configuration.md).
local M = {}

---@class dgemma.Delay
---@field min integer Least milliseconds to wait after a key.
---@field max integer Most milliseconds to wait after a key.

---@class dgemma.Config
---@field autostart boolean Whether the language server is enabled with the first file.
---@field delay dgemma.Delay Bounds of the pause before asking; within them it follows your typing.
---@field hide fun(): boolean Whether suggestions must not be shown now; for other completion menus.
---@field command string[] Command line of `dgemma`; empty: found beside the server's.
---@field cmd string[] Command line of the language server; empty: that of the configuration.
---@field filetypes table<string, boolean> False for those without suggestions; `*` is all others.
---@field exclude string[] Globs of files without suggestions, of absolute paths.
---@field confidence boolean Whether weak tokens are underlined whenever something was accepted.
---@field settings table Settings of the server.

---@class dgemma.Options
---@field autostart? boolean
---@field delay? { min?: integer, max?: integer }
---@field hide? fun(): boolean
---@field command? string[]
---@field cmd? string[]
---@field filetypes? table<string, boolean>
---@field exclude? string[]
---@field confidence? boolean
---@field settings? table

---@type dgemma.Config
local DEFAULTS = {
  autostart = true,
  delay = { min = 25, max = 300 },
  hide = function()
    return false
  end,
  command = {},
  cmd = {},
  filetypes = {},
  exclude = {},
  confidence = false,
  settings = {},
}

---@type dgemma.Config?
local current

---@param options table
---@return string? problem What is wrong, for a person.
local function problem_of(options)
  for name in pairs(options) do
    if DEFAULTS[name] == nil then
      return ('unknown option `%s`; options are %s'):format(
        name,
        table.concat(vim.fn.sort(vim.tbl_keys(DEFAULTS)), ', ')
      )
    end
  end
  for name, default in pairs(DEFAULTS) do
    local value = options[name]
    if value ~= nil and type(value) ~= type(default) then
      return ('`%s` must be a %s, and is a %s'):format(name, type(default), type(value))
    end
  end
  for name, value in pairs(options.delay or {}) do
    if DEFAULTS.delay[name] == nil or type(value) ~= 'number' or value < 0 then
      return '`delay` has the numbers `min` and `max`, in milliseconds'
    end
  end
  for _, value in pairs(options.filetypes or {}) do
    if type(value) ~= 'boolean' then
      return '`filetypes` has true or false for each file type'
    end
  end
  for _, glob in pairs(options.exclude or {}) do
    if type(glob) ~= 'string' or not pcall(vim.glob.to_lpeg, glob) then
      return ('`exclude` has globs, and %s is none'):format(vim.inspect(glob))
    end
  end
end

---Lay options over the defaults; bad ones are told and change nothing.
---@param options? dgemma.Options
---@return dgemma.Config
function M.set(options)
  local wanted = options or {}
  local problem = problem_of(wanted)
  if problem then
    vim.notify('dgemma: ' .. problem, vim.log.levels.ERROR)
    wanted = {}
  end
  current = vim.tbl_deep_extend('force', DEFAULTS, wanted) --[[@as dgemma.Config]]
  if current.delay.max < current.delay.min then
    current.delay.max = current.delay.min
  end
  return current
end

---The options in force: those of `setup()`, else of `vim.g.dgemma`, else the defaults.
---@return dgemma.Config
function M.get()
  return current or M.set(vim.g.dgemma)
end

return M
