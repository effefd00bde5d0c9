---A rewrite that the server keeps: it puts hunks of it into the text, and makes hunks of it anew
---while everything else stays as it is.
local answer = require('dgemma.answer')
local client = require('dgemma.client')
local confidence = require('dgemma.confidence')
local diff = require('dgemma.diff')
local places = require('dgemma.places')
local preview = require('dgemma.preview')

local M = {}

---Least share of the old text that is made anew.
local LEAST_NOISE = 0.125

---@class dgemma.Proposal: dgemma.Decider
---@field id integer The server's.
---@field instruction string
---@field noise number
---@field seed integer
---@field waiting fun()[] Decisions made while another one was under way.
---@field deciding boolean
---@field cancel? fun() Ends the redo that is under way.

---@type table<integer, dgemma.Proposal>
local proposals = {}

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---@param value any
---@return any
local function given(value)
  if value ~= vim.NIL then
    return value
  end
end

---@param review dgemma.Review
---@param edit { documentChanges: lsp.TextDocumentEdit[] }
---@param found vim.lsp.Client
---@return boolean applied
local function apply(review, edit, found)
  local buf = review.buf
  for _, document in ipairs(edit.documentChanges) do
    local version = document.textDocument.version
    if
      vim.uri_to_bufnr(document.textDocument.uri) ~= buf
      or version ~= vim.lsp.util.buf_versions[buf]
    then
      return false
    end
  end
  review.applying = true
  places.break_undo(buf)
  for _, document in ipairs(edit.documentChanges) do
    vim.lsp.util.apply_text_edits(document.edits, buf, found.offset_encoding)
  end
  places.break_undo(buf)
  review.applying = false
  return true
end

---@class dgemma.Resolution
---@field edit? { documentChanges: lsp.TextDocumentEdit[] }
---@field hunks dgemma.HunkResult[]
---@field reason? string
---@field message? string

---@param review dgemma.Review
local function give_up(review)
  diff.close(review)
  say('the text was changed, so what was proposed for it was taken back')
end

---Show what is open after an answer of the server.
---@param review dgemma.Review
---@param found vim.lsp.Client
---@param hunks dgemma.HunkResult[]
---@param asked_at integer The first line of the rewrite when it was asked.
---@param number? integer The place to go to.
local function take_in(review, found, hunks, asked_at, number)
  local buf = review.buf
  for _, place in ipairs(review.open) do
    places.forget(buf, place)
  end
  local moved = review.first - asked_at
  -- The server may or may not have known of what was typed above meanwhile.
  local made = answer.places(found, buf, hunks, 0) or answer.places(found, buf, hunks, moved)
  if not made then
    give_up(review)
    return
  end
  review.open = made
  diff.draw(review, number)
end

---@param review dgemma.Review
---@param proposal dgemma.Proposal
---@param params table
---@param done fun(result: dgemma.Resolution?, found: vim.lsp.Client, asked_at: integer)
---@param quiet? boolean Whether the person is not told why not.
---@return fun()? cancel
local function resolve(review, proposal, params, done, quiet)
  local found = client.get(review.buf)
  if not found then
    diff.close(review)
    say('the language server has ended, and the rewrite with it', vim.log.levels.WARN)
    return
  end
  local asked_at = review.first
  params = vim.tbl_extend('force', params, { proposal = proposal.id })
  return client.request(found, 'dgemma/resolve', params, review.buf, function(problem, result)
    if diff.review(review.buf) ~= review then
      return
    end
    local why = problem or (result and (given(result.message) or given(result.reason)))
    if why and not quiet then
      say(why, vim.log.levels.WARN)
    end
    done(result, found, asked_at)
  end)
end

---@param chosen dgemma.Place[]
---@return integer[]
local function ids(chosen)
  return vim.tbl_map(function(place)
    return place.id
  end, chosen)
end

---@param review dgemma.Review
---@param place dgemma.Place
---@return integer
local function number_of(review, place)
  for number, each in ipairs(review.open) do
    if each == place then
      return number
    end
  end
  return 1
end

---Do what was decided while an answer was under way.
---@param review dgemma.Review
---@param proposal dgemma.Proposal
local function go_on(review, proposal)
  local next_one = table.remove(proposal.waiting, 1)
  if next_one and diff.review(review.buf) == review then
    next_one()
  end
end

---@param review dgemma.Review
---@param proposal dgemma.Proposal
---@param chosen dgemma.Place[]
---@param accepted boolean
---@param all boolean
local function decide(review, proposal, chosen, accepted, all)
  if proposal.cancel then
    if accepted then
      say('a part of it is being made anew; dismiss that first', vim.log.levels.WARN)
    else
      proposal.cancel()
    end
    return
  end
  if review.changed then
    proposal.refresh(review)
  end
  if diff.review(review.buf) ~= review then
    return
  elseif proposal.deciding then
    -- What was meant is what is at the cursor once the decision before is in the text.
    proposal.waiting[#proposal.waiting + 1] = function()
      diff.decide(accepted, all)
    end
    return
  end
  proposal.deciding = true
  local number = number_of(review, chosen[1])
  local params = { action = accepted and 'accept' or 'reject', hunks = ids(chosen) }
  resolve(review, proposal, params, function(result, found, asked_at)
    proposal.deciding = false
    local edit = result and given(result.edit)
    if not result or (accepted and not edit) then
      diff.close(review)
      return
    end
    if edit then
      local starts = confidence.starts(review.buf, chosen)
      if not apply(review, edit, found) then
        diff.close(review)
        say('the document has changed since; nothing was rewritten', vim.log.levels.WARN)
        return
      end
      confidence.accepted_places(review.buf, chosen, starts)
    end
    take_in(review, found, result.hunks, asked_at, number)
    go_on(review, proposal)
  end)
end

---Find out what is left after a change of the lines: undoing what was accepted opens it again.
---@param review dgemma.Review
---@param proposal dgemma.Proposal
local function refresh(review, proposal)
  if proposal.cancel or proposal.deciding then
    return -- the answer that is under way will tell
  end
  review.changed = false
  proposal.deciding = true
  local params = { action = 'show' }
  resolve(review, proposal, params, function(result, found, asked_at)
    proposal.deciding = false
    if not result or #result.hunks == 0 then
      give_up(review)
    else
      take_in(review, found, result.hunks, asked_at)
      go_on(review, proposal)
    end
  end, true)
end

---@class dgemma.Redo
---@field instruction? string
---@field noise? number

---@param review dgemma.Review
---@param proposal dgemma.Proposal
---@param chosen dgemma.Place[]
---@param wish dgemma.Redo
local function redo(review, proposal, chosen, wish)
  local buf = review.buf
  local found = client.get(buf)
  if proposal.cancel or proposal.deciding or not found then
    say('something is under way already', vim.log.levels.WARN)
    return
  end
  proposal.seed = proposal.seed + 1
  local where = places.where(buf, chosen[1])
  local last = places.where(buf, chosen[#chosen]).last
  local range = { start = { line = where.first, character = 0 } }
  range['end'] = { line = last, character = 0 }
  local token, stop = preview.follow(found, buf, #chosen == 1 and range or nil)
  for _, place in ipairs(chosen) do
    place.redone = true
  end
  diff.draw(review)
  local function over()
    proposal.cancel = nil
    stop()
    for _, place in ipairs(chosen) do
      place.redone = nil
    end
  end
  local params = {
    action = 'redo',
    hunks = ids(chosen),
    instruction = wish.instruction,
    noise = wish.noise,
    seed = proposal.seed,
    previewToken = token,
    previewEveryMs = preview.EVERY,
  }
  local cancel = resolve(review, proposal, params, function(result, _, asked_at)
    over()
    if not result then
      diff.draw(review)
    elseif #result.hunks == 0 and given(result.reason) then
      diff.close(review)
    else
      proposal.noise = wish.noise or proposal.noise
      proposal.instruction = wish.instruction or proposal.instruction
      review.title = proposal.instruction
      take_in(review, found, result.hunks, asked_at)
    end
  end)
  proposal.cancel = cancel and function()
    cancel()
    over()
    diff.draw(review)
  end
end

---Show a rewrite of the server's.
---@param found vim.lsp.Client
---@param buf integer
---@param result { proposal: integer, hunks: dgemma.HunkResult[] }
---@param first integer The first line that was rewritten, from 0.
---@param last integer The last one.
---@param request { instruction: string, noise: number, seed: integer }
---@return string? problem
function M.begin(found, buf, result, first, last, request)
  local made = answer.places(found, buf, result.hunks, 0)
  if not made then
    return 'the document has changed since; nothing was rewritten'
  elseif #made == 0 then
    return 'it would change nothing'
  end
  local proposal ---@type dgemma.Proposal
  proposal = {
    id = result.proposal,
    instruction = request.instruction,
    noise = request.noise,
    seed = request.seed,
    waiting = {},
    deciding = false,
    decide = function(review, chosen, accepted, all)
      decide(review, proposal, chosen, accepted, all)
    end,
    refresh = function(review)
      refresh(review, proposal)
    end,
    forget = function()
      if proposal.cancel then
        proposal.cancel()
      end
      if proposals[buf] == proposal then
        proposals[buf] = nil
      end
    end,
  }
  diff.begin(buf, {
    title = request.instruction,
    places = made,
    choices = 'accept, reject or redo',
    first = first,
    last = last + 1,
    decider = proposal,
  })
  proposals[buf] = proposal
end

---The rewrite that waits for a decision in a buffer, and the lines it is of.
---@param buf integer
---@return dgemma.Proposal? proposal
---@return integer first From 0.
---@return integer last From 0.
function M.of(buf)
  local review = diff.review(buf)
  if not proposals[buf] or not review then
    return nil, 0, 0
  end
  return proposals[buf], review.first, review.last - 1
end

---Make the hunk at the cursor anew, or all that are open.
---@param all boolean
---@param wish? dgemma.Redo
---@return boolean done Whether there was a rewrite that can be.
function M.redo(all, wish)
  local buf = vim.api.nvim_get_current_buf()
  local review, proposal = diff.review(buf), proposals[buf]
  if not review or not proposal then
    return false
  end
  redo(review, proposal, diff.chosen(review, all), wish or {})
  return true
end

---Make all open hunks anew, further from the old text or closer to it.
---@param bolder boolean
---@return boolean done
function M.adjust(bolder)
  local proposal = proposals[vim.api.nvim_get_current_buf()]
  if not proposal then
    return false
  end
  local noise = bolder and math.min(1, proposal.noise * 2) or proposal.noise / 2
  return M.redo(true, { noise = math.max(LEAST_NOISE, noise) })
end

return M
