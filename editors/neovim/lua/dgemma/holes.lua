---Filling marked holes: all of them together, shown at once, accepted one by one or all.
local client = require('dgemma.client')
local diff = require('dgemma.diff')
local places = require('dgemma.places')
local running = require('dgemma.running')

local M = {}

---@class dgemma.FilledHole
---@field range lsp.Range
---@field mark string
---@field oldText string
---@field text? string
---@field reason? string
---@field tokens dgemma.Token[]

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---@param found vim.lsp.Client
---@param buf integer
---@param holes dgemma.FilledHole[]
---@return dgemma.Place[] made Those with a text, first to last.
---@return integer without How many have none.
local function places_of(found, buf, holes)
  local made, without = {}, 0
  for number, hole in ipairs(holes) do
    if type(hole.text) ~= 'string' then
      without = without + 1
    else
      local place = {
        id = number,
        whole = false,
        old = places.split(hole.oldText),
        new = places.split(hole.text),
        raw = hole.text,
        tokens = hole.tokens or {},
      } ---@type dgemma.Place
      local start = hole.range.start
      places.track(buf, place, start.line, client.column(found, buf, start))
      if places.holds(buf, place) then
        made[#made + 1] = place
      else
        places.forget(buf, place)
      end
    end
  end
  return made, without
end

---@param buf integer
---@param found vim.lsp.Client
---@param result { holes: dgemma.FilledHole[], reason?: string, message?: string }
local function show(buf, found, result)
  local made, without = places_of(found, buf, result.holes)
  if #made == 0 then
    running.say_why(result)
    return
  end
  diff.begin(buf, {
    title = 'fill',
    places = made,
    choices = 'accept or skip',
    first = 0,
    last = vim.api.nvim_buf_line_count(buf),
  })
  if without > 0 then
    say(('nothing sound was found for %d of %d holes'):format(without, #result.holes))
  end
end

---Fill the marked holes in some lines.
---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
function M.start(buf, first, last)
  local found = client.get(buf)
  if not found then
    say('the language server is not attached to this buffer', vim.log.levels.WARN)
    return
  end
  local params = {
    textDocument = client.document(buf),
    range = client.lines(found, buf, first, last),
  }
  -- Asked first, since that there are none needs no model to say.
  client.request(found, 'dgemma/holes', params, buf, function(problem, result)
    local marked = result and result.holes or {}
    if problem or #marked == 0 then
      local message = result and result.message
      say(
        problem or (type(message) == 'string' and message) or 'no hole is marked here',
        vim.log.levels.WARN
      )
      return
    end
    if not vim.api.nvim_buf_is_loaded(buf) then
      return
    end
    running.start({
      buf = buf,
      first = marked[1].range.start.line,
      last = marked[#marked].range['end'].line,
      method = 'dgemma/fillHoles',
      title = ('fill %d holes'):format(#marked),
      -- The range again and not the holes: the server knows more of a marked one than its place.
      params = { range = params.range },
      ranged = false,
      done = function(server, filled)
        show(buf, server, filled)
      end,
    })
  end)
end

return M
