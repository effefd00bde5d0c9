---What other code may call: `require('dgemma')`. Works without `setup()`.
local M = {}

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---Override options. Not needed: without it the defaults hold, and those of `vim.g.dgemma`.
---@param options? dgemma.Options
function M.setup(options)
  local made = require('dgemma.config').set(options)
  local client = require('dgemma.client')
  if #made.cmd > 0 then
    vim.lsp.config(client.NAME, { cmd = made.cmd })
  end
  if next(made.settings) then
    client.configure(made.settings)
  end
end

---Enable the language server, unless that was switched off.
function M.start()
  local off = vim.g.dgemma_enabled
  local client = require('dgemma.client')
  client.prepare()
  if off ~= false and off ~= 0 and require('dgemma.config').get().autostart then
    vim.lsp.enable(client.NAME)
  end
end

-- Suggestions and hunks --------------------------------------------------------------------------

---Whether a suggestion is shown; for mappings.
---@return boolean
function M.visible()
  return require('dgemma.suggest').shown() ~= nil
end

---Whether a rewrite of the current buffer waits for a decision; for mappings.
---@return boolean
function M.reviewing()
  return require('dgemma.diff').review(vim.api.nvim_get_current_buf()) ~= nil
end

---Accept the suggestion; in normal mode the hunk at the cursor.
---@return boolean accepted Whether there was something to accept.
function M.accept()
  return require('dgemma.accept').all() or require('dgemma.diff').decide(true, false)
end

---@return boolean
function M.accept_word()
  return require('dgemma.accept').word()
end

---@return boolean
function M.accept_line()
  return require('dgemma.accept').line()
end

---Accept all hunks of a rewrite.
---@return boolean
function M.accept_all()
  return require('dgemma.diff').decide(true, true)
end

---Dismiss the suggestion; in normal mode reject the hunk at the cursor, or end the rewrite that is
---under way.
---@return boolean
function M.dismiss()
  return require('dgemma.suggest').dismiss()
    or require('dgemma.diff').decide(false, false)
    or require('dgemma.running').cancel()
end

---Reject all hunks of a rewrite.
---@return boolean
function M.dismiss_all()
  return require('dgemma.diff').decide(false, true)
end

---@param step 1|-1
---@return boolean
local function cycle(step)
  local shown = require('dgemma.suggest').cycle(step, function(count)
    if count == 1 then
      say('there is no other suggestion')
    end
  end)
  return shown or require('dgemma.diff').go(step)
end

---@return boolean
function M.next()
  return cycle(1)
end

---@return boolean
function M.prev()
  return cycle(-1)
end

---Ask for a suggestion now; from normal mode, insert mode begins at the cursor.
function M.trigger()
  local function ask()
    local problem = require('dgemma.suggest').trigger(function(count)
      if count == 0 then
        say('no suggestion for this place')
      end
    end)
    if problem then
      say(problem, vim.log.levels.WARN)
    end
  end
  if vim.fn.mode() ~= 'n' then
    ask()
    return
  end
  local line, col = vim.api.nvim_get_current_line(), vim.fn.col('.')
  vim.api.nvim_create_autocmd('InsertEnter', { once = true, callback = vim.schedule_wrap(ask) })
  -- On the last character of a line one means the place behind it.
  if line ~= '' and col + vim.fn.charidx(line:sub(col), 0) >= #line then
    vim.cmd('startinsert!')
  else
    vim.cmd.startinsert()
  end
end

-- Lines ------------------------------------------------------------------------------------------

---@param range? integer[] First and last line, from 1; nil is the cursor's line.
---@return integer first From 0.
---@return integer last From 0.
local function rows(range)
  local here = vim.api.nvim_win_get_cursor(0)[1]
  return (range and range[1] or here) - 1, (range and range[2] or here) - 1
end

---Rewrite lines by an instruction of the model's; without one you are asked.
---@param instruction? string
---@param range? integer[] First and last line, from 1; nil is the lines of the rewrite that waits for
---  a decision, else the cursor's line.
function M.rewrite(instruction, range)
  local buf = vim.api.nvim_get_current_buf()
  local first, last = rows(range)
  if not range then
    local waiting, from, to = require('dgemma.proposal').of(buf)
    if waiting then
      first, last = from, to
    end
  end
  require('dgemma.rewrite').start(buf, first, last, instruction)
end

---Make the hunk at the cursor anew, or all that are open; the rest stays as it is.
---@param all? boolean
---@param instruction? string Another one than before.
---@return boolean
function M.redo(all, instruction)
  return require('dgemma.proposal').redo(all == true, { instruction = instruction })
end

---Make all open hunks anew, with more freedom than before.
---@return boolean
function M.bolder()
  return require('dgemma.proposal').adjust(true)
end

---Make all open hunks anew, closer to the old text than before.
---@return boolean
function M.closer()
  return require('dgemma.proposal').adjust(false)
end

---Pin lines, which a rewrite then keeps as they are; unpin them when they are.
---@param range? integer[] First and last line, from 1; nil is the cursor's line.
function M.pin(range)
  local first, last = rows(range)
  require('dgemma.pins').toggle(vim.api.nvim_get_current_buf(), first, last)
end

---Fill the marked holes.
---@param range? integer[] First and last line, from 1; nil is what the window shows.
function M.holes(range)
  local first, last = rows(range or { vim.fn.line('w0'), vim.fn.line('w$') })
  require('dgemma.holes').start(vim.api.nvim_get_current_buf(), first, last)
end

---Underline what the model was not sure of in what was accepted last; take the lines away when they
---are there.
function M.confidence()
  require('dgemma.confidence').toggle(vim.api.nvim_get_current_buf())
end

---Go to the token that the model was least sure of, from there to the next.
function M.weakest()
  require('dgemma.confidence').weakest()
end

---Mend what does not parse in some lines.
---@param range? integer[] First and last line, from 1; nil is the cursor's line.
function M.mend(range)
  local first, last = rows(range)
  require('dgemma.mend').start(vim.api.nvim_get_current_buf(), first, last)
end

-- Switches ---------------------------------------------------------------------------------------

---@param on boolean
---@param buf? integer Only this buffer.
local function switch(on, buf)
  if buf then
    vim.b[buf].dgemma_enabled = on
  else
    vim.g.dgemma_enabled = on
  end
  if on then
    require('dgemma.gate').snooze(0)
    vim.lsp.enable(require('dgemma.client').NAME)
  end
  require('dgemma.suggest').update()
  vim.cmd.redrawstatus()
end

---@param buf? integer Only this buffer.
function M.enable(buf)
  switch(true, buf)
end

---@param buf? integer Only this buffer.
function M.disable(buf)
  switch(false, buf)
end

---@param buf? integer Only this buffer.
function M.toggle(buf)
  local here = buf or vim.api.nvim_get_current_buf()
  switch(not require('dgemma.gate').enabled(here), buf)
end

---@param mode 'automatic'|'manual'|'off'
function M.set_mode(mode)
  require('dgemma.client').configure({ mode = mode })
  require('dgemma.suggest').update()
  vim.cmd.redrawstatus()
end

---Suggest nothing by oneself for a while.
---@param minutes? number 10 when not given; 0 ends it.
function M.snooze(minutes)
  require('dgemma.gate').snooze(minutes or 10)
  require('dgemma.suggest').hide()
  vim.cmd.redrawstatus()
end

---A component for the status line.
---@return string
function M.statusline()
  return require('dgemma.status').line()
end

return M
