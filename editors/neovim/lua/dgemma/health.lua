---`:checkhealth dgemma`
local client = require('dgemma.client')
local gate = require('dgemma.gate')
local program = require('dgemma.program')

local M = {}

local health = vim.health
---The probe of the runtime imports torch, which may take long on a cold disk; milliseconds.
local DOCTOR_MS = 60000
local STATUS_MS = 3000

local function neovim()
  health.start('Neovim')
  local version = tostring(vim.version())
  if vim.fn.has('nvim-0.11') == 0 then
    health.error(version .. ' is too old: 0.11 or later is needed')
  elseif vim.lsp.inline_completion then
    health.ok(version .. ', with inline completion of its own')
  else
    health.ok(version)
  end
  if vim.lsp.is_enabled(client.NAME) then
    health.ok("the configuration 'dgemma' is enabled")
  else
    health.warn("the configuration 'dgemma' is not enabled", ":lua vim.lsp.enable('dgemma')")
  end
end

local function server()
  health.start('Language server')
  local command = program.server()
  local path = vim.fn.exepath(command[1])
  if path == '' then
    health.error(("'%s' is not found"):format(command[1]), {
      'pip install dgemma, and see that its folder is on the PATH of Neovim',
      "or vim.lsp.config('dgemma', { cmd = { '/path/to/dgemma-lsp' } })",
    })
    return
  end
  health.ok(table.concat(command, ' ') .. ' is ' .. path)
  local clients = vim.lsp.get_clients({ name = client.NAME })
  if #clients == 0 then
    health.info('no server runs; it starts with a file of a known type')
    return
  end
  for _, each in ipairs(clients) do
    local info = each.server_info or {}
    local buffers = vim.tbl_keys(each.attached_buffers)
    health.ok(
      ('server %s %s runs for %d buffers, positions in %s'):format(
        info.name or '?',
        info.version or '',
        #buffers,
        each.offset_encoding
      )
    )
    local buf = buffers[1]
    if buf then
      local answer = each:request_sync('dgemma/status', vim.empty_dict(), STATUS_MS, buf)
      local status = answer and answer.result
      if not status then
        health.error('the server does not answer dgemma/status', ':Dgemma restart')
      else
        for _, line in ipairs(require('dgemma.status').report(status, buf)) do
          local report = vim.startswith(line, 'problem:') and health.error or health.info
          report(line)
        end
      end
      if gate.builtin(buf) then
        health.info("suggestions are drawn by Neovim's own inline completion")
      end
    end
  end
end

local function installation()
  health.start('Installation (dgemma doctor)')
  local problem, findings = program.doctor(DOCTOR_MS)
  if problem then
    health.error(problem)
  end
  for _, finding in ipairs(findings) do
    local text = finding.name .. ': ' .. finding.value
    if finding.ok == true then
      health.ok(text)
    elseif finding.ok == false then
      health.error(text)
    elseif finding.name == 'grammars' then
      health.warn(text)
    else
      health.info(text)
    end
  end
end

function M.check()
  neovim()
  server()
  installation()
end

return M
