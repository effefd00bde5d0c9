---How long to wait after a key before asking, so that a request goes out when a person pauses and not
---at every letter. Pure; no clock.
---
---It follows three things. The usual gap between two keys: a pause is what is longer. How long answers
---take: one that is there before the next key can be asked for early, while a slow one that is typed
---over was work for nothing. And what becomes of suggestions: who takes many gets them sooner, who
---rejects many is asked for less.
local M = {}

---Gaps above this are pauses and say nothing of the speed; milliseconds.
local PAUSE = 1000
---Weight of the newest gap, and of the newest answer, in their means.
local WEIGHT = 0.2
---How long a wait is in mean gaps, with answers that take no time and with those that take long.
local FAST, SLOW = 0.6, 1.3
---What is assumed before anything was typed; milliseconds.
local FIRST = 150
---Weight of the newest suggestion in the share of those that are taken, which is a half at first.
local FATE = 0.1

---@class dgemma.Pace
---@field mean number Mean gap between two keys, in milliseconds.
---@field last? number When the last key came, in milliseconds.
---@field latency? number Mean time that an answer takes, in milliseconds; nil before the first.
---@field taken number Share of suggestions that were accepted, the latest counting most.

---@return dgemma.Pace
function M.new()
  return { mean = FIRST, taken = 0.5 }
end

---Take in a key.
---@param pace dgemma.Pace
---@param now number Milliseconds of a steady clock.
function M.key(pace, now)
  local gap = pace.last and now - pace.last
  pace.last = now
  if gap and gap <= PAUSE then
    pace.mean = (1 - WEIGHT) * pace.mean + WEIGHT * gap
  end
end

---Take in an answer.
---@param pace dgemma.Pace
---@param took number Milliseconds.
function M.answer(pace, took)
  pace.latency = (1 - WEIGHT) * (pace.latency or took) + WEIGHT * took
end

---Take in what became of a suggestion.
---@param pace dgemma.Pace
---@param accepted boolean
function M.fate(pace, accepted)
  pace.taken = (1 - FATE) * pace.taken + (accepted and FATE or 0)
end

---@param pace dgemma.Pace
---@param bounds dgemma.Delay
---@return integer delay Milliseconds to wait from the last key on.
function M.delay(pace, bounds)
  local slow = pace.latency and pace.latency / (pace.latency + pace.mean) or 1
  local slack = FAST + (SLOW - FAST) * slow
  local patience = 1.5 - pace.taken
  local wait = slack * patience * pace.mean
  return math.floor(math.max(bounds.min, math.min(bounds.max, wait)) + 0.5)
end

return M
