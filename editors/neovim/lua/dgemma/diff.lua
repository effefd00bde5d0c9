---What is proposed for a buffer, place by place, until it is accepted or rejected.
---
---The text is as it was until something is accepted. It may be edited elsewhere meanwhile; where a
---place itself is edited, its proposal is taken back, since it was made for the text that was.
---A rewrite is decided upon by the server, which can make parts of it anew; other proposals here.
local client = require('dgemma.client')
local drawing = require('dgemma.drawing')
local hunks = require('dgemma.hunks')
local places = require('dgemma.places')

local M = {}

---@class dgemma.Decider
---@field decide fun(review: dgemma.Review, chosen: dgemma.Place[], accepted: boolean, all: boolean)
---@field refresh fun(review: dgemma.Review) Called when something of its lines was changed.
---@field forget fun() Called when the review ends.

---@class dgemma.Review
---@field buf integer
---@field title string
---@field choices string What one can do, for a person.
---@field open dgemma.Place[] Those without a decision, first to last.
---@field first integer The first line that it is of, from 0, wherever it is now.
---@field last integer The line behind them.
---@field decider? dgemma.Decider Who decides, if not this module.
---@field applying boolean Whether a change that is going on is ours.
---@field changed boolean Whether its lines were changed and nobody has looked at them since.

---@type table<integer, dgemma.Review>
local reviews = {}

---@param text string
---@param level integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level)
end

---@param review dgemma.Review
function M.close(review)
  local buf = review.buf
  if reviews[buf] ~= review then
    return
  end
  reviews[buf] = nil
  for _, place in ipairs(review.open) do
    places.forget(buf, place)
  end
  drawing.clear(buf)
  if review.decider then
    review.decider.forget()
  end
end

---@param review dgemma.Review
---@param number integer
local function go_to(review, number)
  local place = review.open[number]
  if place and vim.api.nvim_get_current_buf() == review.buf then
    local at = places.where(review.buf, place)
    local row = math.min(at.first + 1, vim.api.nvim_buf_line_count(review.buf))
    vim.api.nvim_win_set_cursor(0, { row, at.from })
  end
end

---@param buf integer
---@return dgemma.Review?
function M.review(buf)
  return reviews[buf]
end

---@param review dgemma.Review
---@param number? integer The place to go to.
function M.draw(review, number)
  if #review.open == 0 then
    M.close(review)
    return
  end
  drawing.draw(review.buf, review.open, review.title, review.choices)
  if number then
    go_to(review, math.min(number, #review.open))
  end
end

---Give up what no longer fits the text.
---@param review dgemma.Review
local function verify(review)
  if reviews[review.buf] ~= review then
    return
  end
  review.changed = false
  local left = {} ---@type dgemma.Place[]
  for _, place in ipairs(review.open) do
    if places.holds(review.buf, place) then
      left[#left + 1] = place
    else
      places.forget(review.buf, place)
    end
  end
  if #left == #review.open then
    return
  end
  review.open = left
  M.draw(review)
  say('the text was changed, so what was proposed for it was taken back', vim.log.levels.INFO)
end

---@param review dgemma.Review
local function watch(review)
  local buf = review.buf
  vim.api.nvim_buf_attach(buf, false, {
    on_lines = function(_, _, _, first, last, new_last)
      if reviews[buf] ~= review then
        return true
      end
      local before = review.first
      local above = last <= before
      if first >= review.last then
        return -- below
      end
      review.last = review.last + new_last - last
      review.first = above and before + new_last - last or math.min(before, first)
      if not above and not review.applying then
        review.changed = true
        vim.schedule(function()
          if reviews[buf] ~= review or not review.changed then
            return
          elseif review.decider then
            review.decider.refresh(review)
          else
            verify(review)
          end
        end)
      end
    end,
    on_detach = function()
      vim.schedule(function()
        M.close(review)
      end)
    end,
  })
end

---@class dgemma.Proposed
---@field title string
---@field places dgemma.Place[] With a mark each, first to last.
---@field choices? string
---@field first integer
---@field last integer
---@field decider? dgemma.Decider

---Show what is proposed for a buffer in place of what was before.
---@param buf integer
---@param proposed dgemma.Proposed
---@return dgemma.Review
function M.begin(buf, proposed)
  local before = reviews[buf]
  if before then
    M.close(before)
  end
  local review = {
    buf = buf,
    title = proposed.title,
    choices = proposed.choices or 'accept or reject',
    open = proposed.places,
    first = proposed.first,
    last = proposed.last,
    decider = proposed.decider,
    applying = false,
    changed = false,
  } ---@type dgemma.Review
  reviews[buf] = review
  watch(review)
  M.draw(review, 1)
  return review
end

---Show new lines for a buffer.
---@param buf integer
---@param new string[] All lines as they would be.
---@param title string
---@return boolean shown Whether they differ.
function M.open(buf, new, title)
  local old = vim.api.nvim_buf_get_lines(buf, 0, -1, false)
  local made = {} ---@type dgemma.Place[]
  for number, hunk in ipairs(hunks.between(old, new)) do
    local place = {
      id = number,
      whole = true,
      old = vim.list_slice(old, hunk.start + 1, hunk.start + hunk.count),
      new = hunk.lines,
      tokens = {},
    } ---@type dgemma.Place
    places.track(buf, place, hunk.start, 0)
    made[number] = place
  end
  if #made == 0 then
    return false
  end
  M.begin(buf, { title = title, places = made, first = 0, last = #old })
  return true
end

---Show an edit of the server, when it is for this buffer as it is now.
---@param buf integer
---@param edit { documentChanges: lsp.TextDocumentEdit[] }
---@param title string
---@return string? problem
function M.show(buf, edit, title)
  local found = client.get(buf)
  local changes = {} ---@type dgemma.Change[]
  for _, document in ipairs(edit.documentChanges) do
    if vim.uri_to_bufnr(document.textDocument.uri) ~= buf then
      return 'the edit is for another file'
    end
    if document.textDocument.version ~= vim.lsp.util.buf_versions[buf] or not found then
      return 'the document has changed since; nothing was rewritten'
    end
    for _, each in ipairs(document.edits) do
      local start, stop = each.range.start, each.range['end']
      changes[#changes + 1] = {
        first = start.line,
        from = client.column(found, buf, start),
        last = stop.line,
        to = client.column(found, buf, stop),
        text = tostring(each.newText),
      }
    end
  end
  local lines = vim.api.nvim_buf_get_lines(buf, 0, -1, false)
  if not M.open(buf, hunks.changed(lines, changes), title) then
    return 'it would change nothing'
  end
end

---@param review dgemma.Review
---@return integer number Of the place at the cursor, or of the next one.
local function at_cursor(review)
  local cursor = vim.api.nvim_win_get_cursor(0)
  local row, col = cursor[1] - 1, cursor[2]
  for number, place in ipairs(review.open) do
    local at = places.where(review.buf, place)
    if place.whole then
      if row < at.first + math.max(#place.old, 1) then
        return number
      end
    elseif row < at.last or (row == at.last and col < math.max(at.to, at.from + 1)) then
      return number
    end
  end
  return #review.open
end

---The place at the cursor or the next one, or all of them.
---@param review dgemma.Review
---@param all boolean
---@return dgemma.Place[] chosen
---@return integer first Number of the first of them.
function M.chosen(review, all)
  if all then
    return vim.list_slice(review.open), 1
  end
  local number = at_cursor(review)
  return { review.open[number] }, number
end

---Put places into the text as one step to undo.
---@param review dgemma.Review
---@param chosen dgemma.Place[]
local function apply(review, chosen)
  local buf = review.buf
  review.applying = true
  places.break_undo(buf)
  -- From the last one on, so that the places of the others hold.
  for number = #chosen, 1, -1 do
    places.put(buf, chosen[number])
  end
  places.break_undo(buf)
  review.applying = false
end

---Accept or reject what is at the cursor, or everything.
---@param accepted boolean
---@param all boolean
---@return boolean done Whether there was a review.
function M.decide(accepted, all)
  local review = reviews[vim.api.nvim_get_current_buf()]
  if not review then
    return false
  end
  if not review.decider then
    verify(review)
  end
  if reviews[review.buf] ~= review then
    return true
  elseif accepted and not vim.bo[review.buf].modifiable then
    say('this buffer cannot be changed', vim.log.levels.WARN)
    return true
  end
  local chosen, first = M.chosen(review, all)
  if review.decider then
    review.decider.decide(review, chosen, accepted, all)
    return true
  end
  if accepted then
    local confidence = require('dgemma.confidence')
    local starts = confidence.starts(review.buf, chosen)
    apply(review, chosen)
    confidence.accepted_places(review.buf, chosen, starts)
  end
  for _ = 1, #chosen do
    places.forget(review.buf, table.remove(review.open, first))
  end
  M.draw(review, first)
  return true
end

---Go to the next or the previous place.
---@param step 1|-1
---@return boolean moved Whether there was a review.
function M.go(step)
  local review = reviews[vim.api.nvim_get_current_buf()]
  if not review then
    return false
  end
  go_to(review, (at_cursor(review) - 1 + step) % #review.open + 1)
  return true
end

return M
