---Suggestions while typing: when to ask, which answers still fit, what is shown now.
---
---One suggestion at most is alive, that of the current buffer. It is tied to the text around the
---place it was asked for: what is typed there must be its beginning, or it is dropped. So nothing
---stale can be shown, and typing into it needs no request.
local client = require('dgemma.client')
local config = require('dgemma.config')
local feedback = require('dgemma.feedback')
local gate = require('dgemma.gate')
local ghost = require('dgemma.ghost')
local items = require('dgemma.items')
local pace = require('dgemma.pace')
local words = require('dgemma.words')

local M = {}

---@class dgemma.Suggestion
---@field anchor dgemma.Anchor
---@field items dgemma.Item[]
---@field index integer The chosen item.
---@field asked boolean Whether a person asked, so that there are all the candidates there will be.

---@class dgemma.Pending
---@field anchor dgemma.Anchor
---@field cancel fun()

local INVOKED, AUTOMATIC = 1, 2

---@type dgemma.Suggestion?
local current
---The one that was dismissed, for as long as its text fits.
---@type dgemma.Suggestion?
local dismissed
---@type dgemma.Pending?
local pending
local typing = pace.new()
local timer = assert(vim.uv.new_timer())

---@return integer row From 0.
---@return integer col Bytes.
local function cursor()
  local at = vim.api.nvim_win_get_cursor(0)
  return at[1] - 1, at[2]
end

---@param buf integer
---@return dgemma.Anchor
local function anchor_here(buf)
  local row, col = cursor()
  local line = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ''
  return {
    buf = buf,
    row = row,
    col = col,
    before = line:sub(1, col),
    after = line:sub(col + 1),
    count = vim.api.nvim_buf_line_count(buf),
    tick = vim.api.nvim_buf_get_changedtick(buf),
    version = client.document(buf).version,
    rows = 0,
    foreign = false,
  }
end

---What was typed at an anchor up to the cursor; nil when it no longer is the same place.
---@param anchor dgemma.Anchor
---@return string?
local function typed_at(anchor)
  if vim.api.nvim_get_current_buf() ~= anchor.buf then
    return nil
  end
  local row, col = cursor()
  local lines = vim.api.nvim_buf_get_lines(anchor.buf, anchor.row, row + 1, false)
  return words.typed(anchor, lines, vim.api.nvim_buf_line_count(anchor.buf), col)
end

---What is left of the chosen item, or of the first other one that fits what was typed.
---@param suggestion dgemma.Suggestion
---@return string? rest
local function rest_of(suggestion)
  local typed = typed_at(suggestion.anchor)
  if not typed then
    return nil
  end
  local count = #suggestion.items
  for step = 0, count - 1 do
    local index = (suggestion.index - 1 + step) % count + 1
    local rest = words.rest(suggestion.items[index].text, typed)
    if rest and rest ~= '' then
      suggestion.index = index
      return rest
    end
  end
end

---Take note that what is shown was not wanted.
---@param suggestion dgemma.Suggestion
---@param why 'dismissed'|'typed'
local function refuse(suggestion, why)
  local item = suggestion.items[suggestion.index]
  if feedback.rejected(client.get(suggestion.anchor.buf), item, why) then
    pace.fate(typing, false)
  end
end

---Take note of how a suggestion ended that no longer fits: typed to its end, or typed past.
---@param suggestion dgemma.Suggestion
local function typed_past(suggestion)
  local anchor = suggestion.anchor
  local buf = vim.api.nvim_get_current_buf()
  if buf ~= anchor.buf or vim.api.nvim_buf_get_changedtick(buf) == anchor.tick then
    return -- left, and nothing was typed
  end
  if typed_at(anchor) == suggestion.items[suggestion.index].text then
    pace.fate(typing, true)
  else
    refuse(suggestion, 'typed')
  end
end

local function give_up_asking()
  timer:stop()
  if pending then
    pending.cancel()
    pending = nil
  end
end

---Take what is shown off the screen and forget it, and what was asked for.
function M.hide()
  give_up_asking()
  if current then
    ghost.clear(current.anchor.buf)
    current = nil
  end
end

---@param suggestion dgemma.Suggestion
---@param rest string
local function draw(suggestion, rest)
  local row, col = cursor()
  local count = #suggestion.items
  local hint = count > 1 and ('(%d/%d)'):format(suggestion.index, count) or nil
  ghost.show(suggestion.anchor.buf, row, col, rest, hint)
  feedback.shown(client.get(suggestion.anchor.buf), suggestion.items[suggestion.index])
end

---Send a request now.
---@param buf integer
---@param kind 1|2 LSP's trigger kind.
---@param answered? fun(count: integer) Called with the number of suggestions that came of it.
local function ask(buf, kind, answered)
  local found = client.get(buf)
  if not found then
    return
  end
  give_up_asking()
  local anchor = anchor_here(buf)
  local mine = { anchor = anchor, cancel = function() end } ---@type dgemma.Pending
  pending = mine
  local began = vim.uv.now()
  local params = {
    textDocument = { uri = vim.uri_from_bufnr(buf) },
    position = client.position(found, buf, anchor.row, anchor.col),
    context = { triggerKind = kind },
  }
  mine.cancel = client.request(
    found,
    'textDocument/inlineCompletion',
    params,
    buf,
    function(_, result)
      if pending ~= mine then
        return
      end
      pending = nil
      if kind == AUTOMATIC then
        pace.answer(typing, vim.uv.now() - began)
      end
      local typed = gate.closed(buf) == nil and typed_at(anchor) or nil
      local tick = vim.api.nvim_buf_get_changedtick(buf)
      if not typed or (typed == '' and tick ~= anchor.tick) then
        return -- an answer for a text that is no longer there
      end
      local offered = items.of(found, anchor, result)
      local earlier = current and typed == '' and rest_of(current)
      if current and earlier then
        offered = items.merged(current, earlier, offered)
      end
      if #offered > 0 then
        current = { anchor = anchor, items = offered, index = 1, asked = kind == INVOKED }
        M.update()
      elseif kind == AUTOMATIC then
        require('dgemma.status').look()
      end
      if answered then
        answered(current and #current.items or 0)
      end
    end
  )
end

---Whether the cursor is at an anchor and the text is still the same.
---@param anchor dgemma.Anchor
---@return boolean
local function is_here(anchor)
  local row, col = cursor()
  return anchor.buf == vim.api.nvim_get_current_buf()
    and anchor.tick == vim.api.nvim_buf_get_changedtick(anchor.buf)
    and anchor.row == row
    and anchor.col == col
end

---Whether the suggestion for this place was dismissed.
---@return boolean
local function is_dismissed()
  return dismissed ~= nil and is_here(dismissed.anchor)
end

---Ask once the person pauses.
---@param buf integer
local function ask_soon(buf)
  give_up_asking()
  if not gate.automatic(buf) or is_dismissed() then
    return
  end
  timer:start(
    M.delay(),
    0,
    vim.schedule_wrap(function()
      if not current and not gate.closed(buf) and gate.automatic(buf) then
        ask(buf, AUTOMATIC)
      end
    end)
  )
end

---Make the screen fit the text: go on with what is shown, or drop it and ask.
function M.update()
  local buf = vim.api.nvim_get_current_buf()
  if gate.closed(buf) then
    M.hide()
    return
  end
  local rest = current and rest_of(current)
  if current and rest then
    draw(current, rest)
    return
  end
  if pending and is_here(pending.anchor) then
    return -- asked for just this
  end
  if current then
    typed_past(current)
  end
  M.hide()
  ask_soon(buf)
end

---What is shown now, when something is.
---@return dgemma.Suggestion?
---@return string? rest
function M.shown()
  if current and not gate.closed(current.anchor.buf) then
    local rest = rest_of(current)
    if rest then
      return current, rest
    end
  end
end

---Whether a request is under way or will be once the person pauses.
---@return boolean
function M.waiting()
  return pending ~= nil or timer:is_active() == true
end

---Ask now; what was dismissed at this place comes back at once.
---@param answered? fun(count: integer)
---@return string? problem Why it cannot be.
function M.trigger(answered)
  local buf = vim.api.nvim_get_current_buf()
  local problem = gate.closed(buf)
  if problem then
    return problem
  end
  if is_dismissed() then
    current, dismissed = dismissed, nil
    M.update()
    return
  end
  ask(buf, INVOKED, answered)
end

---Show another candidate; the first time the server is asked for more.
---@param step 1|-1
---@param answered? fun(count: integer)
---@return boolean shown Whether there was a suggestion to go on from.
function M.cycle(step, answered)
  local suggestion = M.shown()
  if not suggestion then
    return false
  end
  local function go(count)
    local now, rest = M.shown()
    if now and rest and count > 1 then
      now.index = (now.index - 1 + step) % count + 1
      M.update()
    end
    if answered then
      answered(count)
    end
  end
  if suggestion.asked then
    go(#suggestion.items)
  else
    ask(suggestion.anchor.buf, INVOKED, go)
  end
  return true
end

---Take the suggestion away until the text changes.
---@return boolean dismissed Whether there was one.
function M.dismiss()
  local suggestion, rest = M.shown()
  local was_asking = pending ~= nil
  local buf = vim.api.nvim_get_current_buf()
  local anchor = anchor_here(buf)
  if suggestion and rest then
    refuse(suggestion, 'dismissed')
    dismissed = {
      anchor = anchor,
      items = items.merged(suggestion, rest, {}),
      index = 1,
      asked = false,
    }
  end
  M.hide()
  return suggestion ~= nil or was_asking
end

---@class dgemma.Extended
---@field textDocument { uri: string, version: integer }
---@field position lsp.Position
---@field text string

---Take in the whole of a suggestion of which only the sound beginning was shown at first.
---@param params dgemma.Extended
function M.extend(params)
  local anchor = current and current.anchor
  local found = anchor and client.get(anchor.buf)
  if
    not current
    or not anchor
    or not found
    or vim.uri_to_bufnr(params.textDocument.uri) ~= anchor.buf
    or params.textDocument.version ~= anchor.version
    or params.position.line ~= anchor.row
    or client.column(found, anchor.buf, params.position) ~= anchor.col
  then
    return
  end
  local text = params.text:gsub('\r\n?', '\n')
  for _, item in ipairs(current.items) do
    if words.rest(text, item.text) then
      item.text = text
      M.update()
      return
    end
  end
end
-- Found by the method's name, as for every notification of a server.
vim.lsp.handlers['dgemma/extended'] = function(_, params)
  M.extend(params)
end

---Forget the suggestion whose text was put into the buffer.
function M.taken()
  M.hide()
  dismissed = nil
  pace.fate(typing, true)
end

---Milliseconds to wait after a key, as things are.
---@return integer
function M.delay()
  return pace.delay(typing, config.get().delay)
end

---Take in a change of a buffer, which may make what was asked for a thing of the past.
---@param buf integer
---@param first integer
---@param last integer
---@param new_last integer
function M.changed(buf, first, last, new_last)
  for _, each in pairs({ current = current, pending = pending }) do
    local anchor = each.anchor
    if anchor.buf == buf and (first < anchor.row or last > anchor.row + anchor.rows + 1) then
      anchor.foreign = true
    elseif anchor.buf == buf then
      anchor.rows = math.max(0, anchor.rows + new_last - last)
    end
  end
end

---Take in a key that changed the text.
function M.typed()
  pace.key(typing, vim.uv.now())
  M.update()
end

---Forget what belongs to a buffer.
---@param buf integer
function M.leave(buf)
  if current and current.anchor.buf == buf then
    M.hide()
  end
end

return M
