---The one thing that was asked for some lines and is under way: a note beside them, the canvas as it
---stands, and its end.
local client = require('dgemma.client')
local preview = require('dgemma.preview')

local M = {}

local namespace = vim.api.nvim_create_namespace('dgemma.rewrite')

---@class dgemma.Running
---@field buf integer
---@field cancel fun()

---@type dgemma.Running?
local running

---@class dgemma.Job
---@field buf integer
---@field first integer First line, from 0.
---@field last integer Last line, from 0.
---@field method string
---@field title string What is being done, for a person.
---@field params? table Further parameters than the document and the range.
---@field ranged? boolean Whether the range is a parameter; true when not given.
---@field done fun(found: vim.lsp.Client, result: any) Called with an answer, for a loaded buffer.

---@param text string
---@param level integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level)
end

---@param buf integer
---@param row integer
---@param note string
local function draw(buf, row, note)
  vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  vim.api.nvim_buf_set_extmark(buf, namespace, row, 0, {
    virt_text = { { (' dgemma: %s …'):format(note), 'DgemmaHint' } },
    virt_text_pos = 'eol',
    strict = false,
  })
end

---End what is under way.
---@return boolean ended
function M.cancel()
  if not running then
    return false
  end
  running.cancel()
  if vim.api.nvim_buf_is_valid(running.buf) then
    vim.api.nvim_buf_clear_namespace(running.buf, namespace, 0, -1)
  end
  running = nil
  return true
end

---Ask for something, in place of what is under way.
---@param job dgemma.Job
function M.start(job)
  local buf = job.buf
  local found = client.get(buf)
  if not found then
    say('the language server is not attached to this buffer', vim.log.levels.WARN)
    return
  end
  M.cancel()
  local range = client.lines(found, buf, job.first, job.last)
  local token, stop = preview.follow(found, buf, range, function(step)
    draw(buf, job.first, ('%s %d/%d'):format(job.title, step.step, step.maxSteps))
  end)
  local params = vim.tbl_extend('error', {
    textDocument = client.document(buf),
    previewToken = token,
    previewEveryMs = preview.EVERY,
  }, job.params or {})
  if job.ranged ~= false then
    params.range = range
  end
  draw(buf, job.first, job.title)
  local mine = { buf = buf, cancel = stop } ---@type dgemma.Running
  running = mine
  local cancel = client.request(found, job.method, params, buf, function(problem, result)
    if running ~= mine then
      return
    end
    running = nil
    stop()
    if not vim.api.nvim_buf_is_loaded(buf) then
      return
    end
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
    if problem then
      say(problem, vim.log.levels.ERROR)
    elseif result then
      job.done(found, result)
    end
  end)
  mine.cancel = function()
    cancel()
    stop()
  end
end

---Say why nothing came.
---@param result { reason?: string, message?: string }
function M.say_why(result)
  local why = result.message or result.reason
  say(type(why) == 'string' and why or 'nothing good came of it', vim.log.levels.WARN)
end

return M
