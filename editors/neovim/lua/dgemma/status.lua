---What goes on, for the status line and for a person who asks.
local client = require('dgemma.client')
local gate = require('dgemma.gate')

local M = {}

---Least time between two looks at the server's problems; milliseconds.
local LOOK_EVERY = 5000

---What the server last said is wrong.
---@type string?
local problem
local looked = -LOOK_EVERY
local scheduled = false

---Draw the status lines anew, once however often something changed.
local function redraw()
  if scheduled then
    return
  end
  scheduled = true
  vim.schedule(function()
    scheduled = false
    vim.api.nvim_exec_autocmds('User', { pattern = 'DgemmaStatus', modeline = false })
    vim.cmd.redrawstatus()
  end)
end
client.on_change(redraw)

---Work that the server tells the progress of, such as loading a model; percentage nil when unknown.
---@type { title: string, percentage?: integer }?
local working

---Take in LSP's progress: shown in the status line, its begin and end told.
---@param value { kind: 'begin'|'report'|'end', title?: string, message?: string, percentage?: integer }
function M.progress(value)
  if value.kind == 'end' then
    local text = working and working.title or 'done'
    if value.message and value.message ~= '' then
      text = ('%s: %s'):format(text, value.message)
    end
    working = nil
    vim.notify(text, vim.log.levels.INFO)
  else
    working = working or { title = value.title or 'dgemma' }
    working.percentage = value.percentage or working.percentage
    if value.kind == 'begin' then
      vim.notify(working.title .. ' …', vim.log.levels.INFO)
    end
  end
  redraw()
end

---@param value any
---@return any value Nil for JSON's null.
local function given(value)
  if value ~= vim.NIL then
    return value
  end
end

---Ask the server for its status; starts no runtime.
---@param buf integer
---@param callback fun(trouble: string?, status: table?)
function M.fetch(buf, callback)
  local found = client.any(buf)
  if not found then
    callback('no language server runs', nil)
    return
  end
  client.request(found, 'dgemma/status', vim.empty_dict(), buf, function(trouble, status)
    if status then
      problem = given(status.problem)
      redraw()
    end
    callback(trouble, status)
  end)
end

---Look whether silence has a reason that a person should know; rarely, since it mostly has none.
function M.look()
  if vim.uv.now() - looked >= LOOK_EVERY then
    looked = vim.uv.now()
    M.fetch(vim.api.nvim_get_current_buf(), function() end)
  end
end

---In a word: `busy`, `idle`, `error`, `off`, `manual`, `snoozed`, or `none` without a server.
---@param buf? integer
---@return string
function M.state(buf)
  buf = buf or vim.api.nvim_get_current_buf()
  if not client.get(buf) then
    return 'none'
  elseif not gate.enabled(buf) or gate.mode(buf) == 'off' then
    return 'off'
  elseif client.busy() then
    return 'busy'
  elseif problem then
    return 'error'
  elseif gate.snoozed() > 0 then
    return 'snoozed'
  end
  return gate.mode(buf) == 'manual' and 'manual' or 'idle'
end

local SIGNS = {
  none = '',
  idle = 'dgemma',
  busy = 'dgemma …',
  error = 'dgemma !',
  off = 'dgemma off',
  manual = 'dgemma manual',
  snoozed = 'dgemma zz',
}

---A component for the status line; empty in buffers without a server.
---@return string
function M.line()
  local state = M.state()
  if working and state ~= 'none' then
    return working.percentage and ('dgemma %d%%'):format(working.percentage) or SIGNS.busy
  end
  return SIGNS[state] or ''
end

---@param counts table<string, integer>?
---@return string
local function counted(counts)
  local parts = {}
  for name, count in vim.spairs(counts or {}) do
    parts[#parts + 1] = ('%s %d'):format(name, count)
  end
  return #parts > 0 and table.concat(parts, ', ') or 'none'
end

---The status in lines for a person.
---@param status table Of `dgemma/status`.
---@param buf integer
---@return string[]
function M.report(status, buf)
  local runtime = given(status.runtime)
  local lines = {
    ('dgemma %s, mode %s'):format(status.release, status.mode),
    gate.enabled(buf) and 'suggestions on' or 'suggestions off (:Dgemma enable)',
  }
  local function add(format, ...)
    lines[#lines + 1] = format:format(...)
  end
  if gate.snoozed() > 0 then
    add('snoozing for %d more minutes', gate.snoozed())
  end
  if gate.builtin(buf) then
    add("shown by Neovim's own inline completion")
  end
  if given(status.problem) then
    add('problem: %s', status.problem)
  end
  if not runtime then
    add('runtime: none runs; the first request starts one')
  else
    add('runtime: %s, model %s, process %d', runtime.state, runtime.model, runtime.pid)
    if runtime.device ~= '' then
      add('  on %s in %s (%s)', runtime.device, runtime.dtype, runtime.deviceReason)
    end
    add('  %d MiB, %d requests, %d editors', runtime.residentMb, runtime.requests, runtime.peers)
    if runtime.message ~= '' then
      add('  %s', runtime.message)
    end
  end
  add('shown %d, accepted %d', status.shown, status.accepted)
  if given(status.lastTotalMs) then
    add('last answer after %d ms', status.lastTotalMs)
  end
  if status.adapter and status.adapter ~= '' then
    add('adapter: %s', status.adapter)
  end
  if given(status.adapterProblem) then
    add('adapter: %s', status.adapterProblem)
  end
  add('not asked: %s', counted(status.declined))
  add('not shown: %s', counted(status.rejected))
  add('no answer: %s', counted(status.silent))
  local offers = status.rewrites or {}
  add('rewrites: %s', #offers == 0 and 'none known of' or '')
  for _, offer in ipairs(offers) do
    add('  %s (right in %d %%)', offer.instruction, offer.success * 100 + 0.5)
  end
  local text = table.concat(lines, '\n') -- messages may have line breaks of their own
  return vim.split(text, '\n', { plain = true })
end

return M
