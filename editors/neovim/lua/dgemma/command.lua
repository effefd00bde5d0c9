---`:Dgemma` and its subcommands.
local client = require('dgemma.client')

local M = {}

---@class dgemma.Subcommand
---@field run fun(words: string[], call: vim.api.keyset.create_user_command.command_args)
---@field words? string[] What may follow.

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---@param result boolean
---@return boolean
local function or_say_none(result)
  if not result then
    say('no rewrite waits for a decision in this buffer', vim.log.levels.WARN)
  end
  return result
end

local MODES = { auto = 'automatic', manual = 'manual', off = 'off' }

---@param word string?
---@return integer? buf The current buffer for `buffer`, nil for nothing.
---@return boolean known
local function scope(word)
  if word == 'buffer' then
    return vim.api.nvim_get_current_buf(), true
  end
  return nil, word == nil
end

---@param name 'enable'|'disable'|'toggle'
---@return dgemma.Subcommand
local function switch(name)
  return {
    words = { 'buffer' },
    run = function(words)
      local buf, known = scope(words[1])
      if known then
        require('dgemma')[name](buf)
      else
        say((':Dgemma %s [buffer]'):format(name), vim.log.levels.ERROR)
      end
    end,
  }
end

---@param accepted boolean
---@return dgemma.Subcommand
local function decision(accepted)
  return {
    words = { 'all' },
    run = function(words)
      or_say_none(require('dgemma.diff').decide(accepted, words[1] == 'all'))
    end,
  }
end

---@param call vim.api.keyset.create_user_command.command_args
---@return integer[]? range
local function range_of(call)
  if call.range > 0 then
    return { call.line1, call.line2 }
  end
end

---@return vim.lsp.Client?
local function server()
  local found = client.any(vim.api.nvim_get_current_buf())
  if not found then
    say('no language server runs', vim.log.levels.WARN)
  end
  return found
end

---@param done? fun()
local function stop_runtime(done)
  local found = server()
  if not found then
    return
  end
  local buf = vim.api.nvim_get_current_buf()
  client.request(found, 'dgemma/stopRuntime', vim.empty_dict(), buf, function(problem, result)
    local message = problem or (result and result.message)
    if type(message) == 'string' then
      say(message, vim.log.levels.WARN)
    elseif not done then
      say(
        result.stopped and 'the runtime has ended and its memory is free'
          or 'no runtime was running'
      )
    end
    if done then
      done()
    end
  end)
end

---@param erase boolean
local function statistics(erase)
  local found = server()
  if not found then
    return
  end
  local method = erase and 'dgemma/eraseStatistics' or 'dgemma/statistics'
  local buf = vim.api.nvim_get_current_buf()
  client.request(found, method, vim.empty_dict(), buf, function(problem, result)
    if problem then
      say(problem, vim.log.levels.WARN)
    elseif erase then
      say('the statistics are forgotten')
    elseif result then
      local report = require('dgemma.statistics').report(result)
      require('dgemma.window').float(report, 'dgemma statistics')
    end
  end)
end

local function doctor()
  local buf = require('dgemma.window').split({ 'dgemma doctor …' })
  local program = require('dgemma.program')
  program.run(
    { 'doctor' },
    vim.schedule_wrap(function(problem, result)
      if vim.api.nvim_buf_is_valid(buf) then
        local text = problem or ((result.stdout or '') .. (result.stderr or ''))
        vim.api.nvim_buf_set_lines(buf, 0, -1, false, vim.split(vim.trim(text), '\n'))
      end
    end)
  )
end

local function log()
  local path = require('dgemma.program').log_file()
  if not vim.uv.fs_stat(path) then
    path = vim.lsp.log.get_filename() -- where what a server says on stderr goes
  end
  vim.cmd.tabedit(vim.fn.fnameescape(path))
  vim.cmd.normal({ 'G', bang = true })
end

---@type table<string, dgemma.Subcommand>
M.subcommands = {
  enable = switch('enable'),
  disable = switch('disable'),
  toggle = switch('toggle'),
  accept = decision(true),
  reject = decision(false),
  skip = decision(false),
  redo = {
    words = { 'all' },
    run = function(words)
      local all = words[1] == 'all'
      if all then
        table.remove(words, 1)
      end
      local instruction = #words > 0 and table.concat(words, ' ') or nil
      or_say_none(require('dgemma').redo(all, instruction))
    end,
  },
  bolder = {
    run = function()
      or_say_none(require('dgemma.proposal').adjust(true))
    end,
  },
  closer = {
    run = function()
      or_say_none(require('dgemma.proposal').adjust(false))
    end,
  },
  pin = {
    run = function(_, call)
      require('dgemma').pin(range_of(call))
    end,
  },
  unpin = {
    run = function(_, call)
      local range = range_of(call)
      local buf = vim.api.nvim_get_current_buf()
      require('dgemma.pins').clear(buf, range and range[1] - 1 or 0, range and range[2] - 1 or -1)
    end,
  },
  holes = {
    run = function(_, call)
      require('dgemma').holes(range_of(call))
    end,
  },
  confidence = {
    run = function()
      require('dgemma').confidence()
    end,
  },
  cancel = {
    run = function()
      local ended = require('dgemma.models').cancel()
      if not require('dgemma.running').cancel() and not ended then
        say('nothing is under way', vim.log.levels.WARN)
      end
    end,
  },
  models = {
    run = function(words)
      local found = server()
      if found then
        require('dgemma.models').pick(found, words[1])
      end
    end,
  },
  stats = {
    words = { 'erase' },
    run = function(words)
      statistics(words[1] == 'erase')
    end,
  },
  mode = {
    words = { 'auto', 'manual', 'off' },
    run = function(words)
      local mode = MODES[words[1] or '']
      if mode then
        require('dgemma').set_mode(mode)
      else
        say(':Dgemma mode auto|manual|off', vim.log.levels.ERROR)
      end
    end,
  },
  trigger = {
    run = function()
      require('dgemma').trigger()
    end,
  },
  rewrite = {
    run = function(words, call)
      require('dgemma').rewrite(table.concat(words, ' '), range_of(call))
    end,
  },
  mend = {
    run = function(_, call)
      require('dgemma').mend(range_of(call))
    end,
  },
  status = {
    run = function()
      local buf = vim.api.nvim_get_current_buf()
      local status = require('dgemma.status')
      status.fetch(buf, function(problem, result)
        if result then
          require('dgemma.window').float(status.report(result, buf), 'dgemma')
        else
          say(problem or 'no status', vim.log.levels.WARN)
        end
      end)
    end,
  },
  snooze = {
    run = function(words)
      local minutes = tonumber(words[1] or 10)
      if minutes and minutes >= 0 then
        require('dgemma').snooze(minutes)
      else
        say(':Dgemma snooze [minutes]', vim.log.levels.ERROR)
      end
    end,
  },
  restart = {
    run = function()
      local function start()
        client.restart(function()
          say('the server was started again')
        end)
      end
      if client.any(vim.api.nvim_get_current_buf()) then
        stop_runtime(start)
      else
        start() -- it has ended by itself
      end
    end,
  },
  stop = {
    run = function()
      stop_runtime()
    end,
  },
  log = { run = log },
  doctor = { run = doctor },
}

---@param call vim.api.keyset.create_user_command.command_args
function M.run(call)
  local words = vim.list_slice(call.fargs)
  local name = table.remove(words, 1) or 'status'
  local subcommand = M.subcommands[name]
  if not subcommand then
    local names = vim.fn.sort(vim.tbl_keys(M.subcommands))
    say(
      ('there is no `%s`; there are %s'):format(name, table.concat(names, ', ')),
      vim.log.levels.ERROR
    )
    return
  end
  subcommand.run(words, call)
end

---@param names string[]
---@param lead string
---@return string[]
local function starting(names, lead)
  return vim.tbl_filter(function(name)
    return vim.startswith(name, lead)
  end, vim.fn.sort(names))
end

---@param lead string The word at the cursor.
---@param line string The command line.
---@return string[]
function M.complete(lead, line)
  local words = vim.split(line:gsub('^.-Dgemma%s+', ''), '%s+')
  if #words <= 1 then
    return starting(vim.tbl_keys(M.subcommands), lead)
  end
  if words[1] == 'rewrite' or (words[1] == 'redo' and #words > 2) then
    local typed = table.concat(words, ' ', 2)
    return vim.tbl_map(function(text)
      return text:sub(#typed - #lead + 1) -- only the word at the cursor is replaced
    end, starting(require('dgemma.offers').history(), typed))
  end
  local subcommand = M.subcommands[words[1]]
  return #words == 2 and subcommand and starting(subcommand.words or {}, lead) or {}
end

return M
