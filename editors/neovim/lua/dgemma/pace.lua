---How long to wait after a key before asking: a little longer than this person's usual gap between
---two keys, so that a request goes out when they pause and not at every letter. Pure; no clock.
local M = {}

---Gaps above this are pauses and say nothing of the speed; milliseconds.
local PAUSE = 1000
---Weight of the newest gap in the mean.
local WEIGHT = 0.2
---How much longer than the mean gap a wait is.
local SLACK = 1.3
---What is assumed before anything was typed; milliseconds.
local FIRST = 150

---@class dgemma.Pace
---@field mean number Mean gap between two keys, in milliseconds.
---@field last number? When the last key came, in milliseconds.

---@return dgemma.Pace
function M.new()
  return { mean = FIRST, last = nil }
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

---@param pace dgemma.Pace
---@param bounds dgemma.Delay
---@return integer delay Milliseconds to wait from the last key on.
function M.delay(pace, bounds)
  return math.floor(math.max(bounds.min, math.min(bounds.max, SLACK * pace.mean)) + 0.5)
end

return M
