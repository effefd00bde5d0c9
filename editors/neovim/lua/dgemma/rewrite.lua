---Rewrites of whole lines: which instruction, asking for it, and the difference that comes of it.
---
---Instructions are those the loaded model was trained for, with their places filled in. What was
---asked for lately is offered first; Neovim's ShaDa file keeps it, being a global in capitals.
local client = require('dgemma.client')
local diff = require('dgemma.diff')

local M = {}

local KEPT = 20
local namespace = vim.api.nvim_create_namespace('dgemma.rewrite')

---@class dgemma.Offer
---@field kind string
---@field instruction string `{a}` stands for an argument.
---@field success number Measured share of rewrites that were right, 0 to 1.
---@field languages string[]

---A request under way and the mark that shows it.
---@class dgemma.Running
---@field buf integer
---@field cancel fun()

---@type dgemma.Running?
local running

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---@return string[]
function M.history()
  local kept = vim.g.DGEMMA_REWRITES
  return type(kept) == 'table' and kept or {}
end

---@param instruction string
local function remember(instruction)
  local list = { instruction }
  for _, each in ipairs(M.history()) do
    if each ~= instruction and #list < KEPT then
      list[#list + 1] = each
    end
  end
  vim.g.DGEMMA_REWRITES = list
end

---@param instruction string
---@return string[] names Its arguments, each once.
function M.arguments(instruction)
  local names, seen = {}, {}
  for name in instruction:gmatch('{(%a[%w_]*)}') do
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  return names
end

---@param instruction string
---@param values table<string, string>
---@return string
function M.filled(instruction, values)
  return (instruction:gsub('{(%a[%w_]*)}', values))
end

---Whether an instruction is an offer with its places filled in.
---@param instruction string
---@param offer dgemma.Offer
---@return boolean
function M.matches(instruction, offer)
  local pattern = vim.pesc(offer.instruction):gsub('{%a[%w_]*}', '.+')
  return instruction:match('^' .. pattern .. '$') ~= nil
end

---End the rewrite that is under way.
---@return boolean
function M.cancel()
  if not running then
    return false
  end
  running.cancel()
  vim.api.nvim_buf_clear_namespace(running.buf, namespace, 0, -1)
  running = nil
  return true
end

---Send a request whose answer is an edit, and show what comes of it.
---@param buf integer
---@param first integer First line, from 0.
---@param last integer Last line, from 0.
---@param method string
---@param title string What is being done, for a person.
---@param more? table Further parameters.
function M.request(buf, first, last, method, title, more)
  local found = client.get(buf)
  if not found then
    say('the language server is not attached to this buffer', vim.log.levels.WARN)
    return
  end
  M.cancel()
  local params = vim.tbl_extend('error', {
    textDocument = client.document(buf),
    range = client.lines(found, buf, first, last),
  }, more or {})
  vim.api.nvim_buf_set_extmark(buf, namespace, first, 0, {
    virt_text = { { ' dgemma: ' .. title .. ' …', 'DgemmaHint' } },
    virt_text_pos = 'eol',
  })
  local mine = { buf = buf, cancel = function() end } ---@type dgemma.Running
  running = mine
  mine.cancel = client.request(found, method, params, buf, function(problem, result)
    if running ~= mine then
      return
    end
    running = nil
    if not vim.api.nvim_buf_is_valid(buf) then
      return
    end
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
    if problem then
      say(problem, vim.log.levels.ERROR)
    elseif not result or not result.edit or result.edit == vim.NIL then
      local why = result and (result.message or result.reason)
      say(type(why) == 'string' and why or 'nothing good came of it', vim.log.levels.WARN)
    else
      local trouble = diff.show(buf, result.edit, title)
      if trouble then
        say(trouble, vim.log.levels.WARN)
      end
    end
  end)
end

---@param buf integer
---@param first integer
---@param last integer
---@param instruction string
local function run(buf, first, last, instruction)
  remember(instruction)
  M.request(buf, first, last, 'dgemma/rewrite', instruction, { instruction = instruction })
end

---Ask for the arguments of an instruction, one after the other.
---@param instruction string
---@param done fun(instruction: string)
local function fill_in(instruction, done)
  local names, values = M.arguments(instruction), {}
  local function next_one(number)
    local name = names[number]
    if not name then
      done(M.filled(instruction, values))
      return
    end
    local prompt = ('%s — %s: '):format(M.filled(instruction, values), name)
    vim.ui.input({ prompt = prompt }, function(value)
      if value and vim.trim(value) ~= '' then
        values[name] = vim.trim(value)
        next_one(number + 1)
      end
    end)
  end
  next_one(1)
end

---@param offers dgemma.Offer[]
---@param done fun(instruction: string)
local function choose(offers, done)
  ---@type { text: string, label: string }[]
  local choices = {}
  for _, text in ipairs(M.history()) do
    for _, offer in ipairs(offers) do
      -- Without arguments it stands among the offers anyway.
      if M.matches(text, offer) and text ~= offer.instruction then
        choices[#choices + 1] = { text = text, label = text .. '  (again)' }
        break
      end
    end
  end
  for _, offer in ipairs(offers) do
    local label = ('%s  (right in %d %%)'):format(offer.instruction, offer.success * 100 + 0.5)
    choices[#choices + 1] = { text = offer.instruction, label = label }
  end
  vim.ui.select(choices, {
    prompt = 'Rewrite the selection:',
    kind = 'dgemma.rewrite',
    format_item = function(choice)
      return choice.label
    end,
  }, function(choice)
    if choice then
      fill_in(choice.text, done)
    end
  end)
end

---Rewrite lines of a buffer; without an instruction the person is asked for one.
---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
---@param instruction? string
function M.start(buf, first, last, instruction)
  local found = client.get(buf)
  if not found then
    say('the language server is not attached to this buffer', vim.log.levels.WARN)
    return
  end
  local language = found.get_language_id(buf, vim.bo[buf].filetype)
  local params = { language = language }
  client.request(found, 'dgemma/rewrites', params, buf, function(problem, result)
    local offers = result and result.rewrites or {}
    if problem or #offers == 0 then
      local message = result and result.message
      say(
        problem
          or (type(message) == 'string' and message)
          or 'the loaded model offers no rewrites for ' .. language,
        vim.log.levels.WARN
      )
    elseif instruction and instruction ~= '' then
      fill_in(instruction, function(filled)
        run(buf, first, last, filled)
      end)
    else
      choose(offers, function(filled)
        run(buf, first, last, filled)
      end)
    end
  end)
end

return M
