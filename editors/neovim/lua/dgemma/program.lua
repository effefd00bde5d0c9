---The command `dgemma`: where it is, and what it says of the installation.
local client = require('dgemma.client')
local config = require('dgemma.config')

local M = {}

---@class dgemma.Finding
---@field name string
---@field value string
---@field ok? boolean Nil for what is neither good nor bad.

---The command line of the language server, as configured.
---@return string[]
function M.server()
  local configured = vim.lsp.config[client.NAME]
  local cmd = configured and configured.cmd
  return type(cmd) == 'table' and cmd or { 'dgemma-lsp' }
end

---The command line of `dgemma`: the one configured, else the one installed with the server.
---@return string[]
function M.find()
  local wanted = config.get().command
  if #wanted > 0 then
    return wanted
  end
  local server = M.server()
  local path = vim.fn.exepath(server[1])
  if path ~= '' then
    local beside = vim.fs.joinpath(vim.fs.dirname(path), 'dgemma')
    if vim.fn.executable(beside) == 1 then
      return { beside }
    end
  end
  return { 'dgemma' }
end

---The log file of the language server: the one it is told, else that of the user's log folder.
---@return string
function M.log_file()
  local command = M.server()
  for number, word in ipairs(command) do
    if word == '--log-file' and command[number + 1] then
      return command[number + 1]
    end
  end
  local folder = vim.fs.joinpath(vim.fs.dirname(vim.fn.stdpath('state')), 'dgemma/log')
  if vim.fn.has('mac') == 1 then
    folder = vim.fs.normalize('~/Library/Logs/dgemma')
  elseif vim.fn.has('win32') == 1 then
    folder = vim.fs.joinpath(vim.env.LOCALAPPDATA, 'dgemma/Logs')
  end
  return vim.fs.joinpath(folder, 'lsp.log')
end

---Run `dgemma` with arguments.
---@param arguments string[]
---@param done fun(problem: string?, result: vim.SystemCompleted?)
---@return vim.SystemObj?
function M.run(arguments, done)
  local command = vim.list_extend(vim.list_slice(M.find()), arguments)
  if vim.fn.executable(command[1]) == 0 then
    done(('%s is not found: pip install dgemma, or set `command`'):format(command[1]), nil)
    return
  end
  return vim.system(command, { text = true }, function(result)
    done(nil, result)
  end)
end

---The findings of `dgemma doctor --json`; waits for them.
---@param timeout integer Milliseconds.
---@return string? problem
---@return dgemma.Finding[] findings
function M.doctor(timeout)
  local problem ---@type string?
  local running = M.run({ 'doctor', '--json' }, function(trouble)
    problem = trouble
  end)
  if not running then
    return problem, {}
  end
  local result = running:wait(timeout)
  local read, findings = pcall(vim.json.decode, result.stdout or '', { luanil = { object = true } })
  if not read or type(findings) ~= 'table' then
    local said = vim.trim(result.stderr or '')
    return ('dgemma doctor ended with status %d %s'):format(result.code, said), {}
  end
  return nil, findings
end

return M
