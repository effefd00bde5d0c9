---How sure the model was of what was accepted: weak tokens are underlined, in three levels, until
---the text is changed.
local client = require('dgemma.client')
local config = require('dgemma.config')
local places = require('dgemma.places')

local M = {}

local drawn = vim.api.nvim_create_namespace('dgemma.confidence')
local tracked = vim.api.nvim_create_namespace('dgemma.confidence.accepted')

---Probabilities below which a token is underlined, the weakest level first.
M.LEVELS = {
  { 0.3, 'DgemmaWeakest' },
  { 0.6, 'DgemmaWeaker' },
  { 0.85, 'DgemmaWeak' },
}

---A text that was accepted: where it begins, and what is known of its tokens.
---@class dgemma.Accepted
---@field mark integer
---@field text string
---@field whole? string What the tokens are of, as the server has it, when it is not the text.
---@field tokens? dgemma.Token[]
---@field offer? integer The server's number of it, when its tokens are yet to be asked for.

---@class dgemma.WeakToken
---@field row integer From 0.
---@field col integer Bytes.
---@field probability number

---@class dgemma.Taken
---@field row integer From 0.
---@field col integer Bytes.
---@field text string
---@field whole? string
---@field tokens? dgemma.Token[]
---@field offer? integer

---What was accepted last in a buffer.
---@type table<integer, dgemma.Accepted[]>
local accepted = {}
---@type table<integer, dgemma.WeakToken[]> The weakest first.
local weak = {}
---@type table<integer, integer>
local visited = {}

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---@param buf integer
function M.clear(buf)
  weak[buf], visited[buf] = nil, nil
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, drawn, 0, -1)
  end
end

---The level of a token.
---@param probability number
---@return string? group Nil for one that is sure enough.
function M.group(probability)
  for _, level in ipairs(M.LEVELS) do
    if probability < level[1] then
      return level[2]
    end
  end
end

---The byte a character of the server's text is at, once its line breaks are Neovim's.
---@param text string With the server's line breaks.
---@param characters integer
---@return integer
local function byte_of(text, characters)
  local most = vim.str_utfindex(text, 'utf-32')
  local byte = vim.str_byteindex(text, 'utf-32', math.min(characters, most))
  local _, returns = text:sub(1, byte):gsub('\r\n', '\n')
  return byte - returns
end

---The tokens of a text that is the end or the beginning of the one they are known for.
---@param text string What was accepted.
---@param whole string What the tokens are of.
---@param tokens dgemma.Token[]
---@return { from: integer, to: integer, probability: number }[] pieces Bytes of the text, from 0.
function M.pieces(text, whole, tokens)
  local plain = whole:gsub('\r\n', '\n')
  local skipped ---@type integer
  if plain:sub(-#text) == text then
    skipped = #plain - #text
  elseif text:sub(1, #plain) == plain or plain:sub(1, #text) == text then
    skipped = 0
  else
    return {}
  end
  local made = {}
  for _, token in ipairs(tokens) do
    local from = byte_of(whole, token.start) - skipped
    local to = math.min(byte_of(whole, token['end']) - skipped, #text)
    if from >= 0 and to > from then
      made[#made + 1] = { from = from, to = to, probability = token.probability }
    end
  end
  return made
end

---@param text string
---@param row integer
---@param col integer
---@param byte integer
---@return integer row
---@return integer col
local function at_byte(text, row, col, byte)
  local before = text:sub(1, byte)
  local _, breaks = before:gsub('\n', '')
  local line = before:match('[^\n]*$')
  return row + breaks, (breaks == 0 and col or 0) + #line
end

---@param buf integer
---@param one dgemma.Accepted
---@return integer? row Nil when the text is no longer there.
---@return integer col
local function still_at(buf, one)
  local at = vim.api.nvim_buf_get_extmark_by_id(buf, tracked, one.mark, {})
  local row, col = at[1], at[2]
  if not row then
    return nil, 0
  end
  local place = { id = 0, whole = false, old = places.split(one.text), new = {}, tokens = {} }
  places.track(buf, place, row, col)
  local holds = places.holds(buf, place)
  places.forget(buf, place)
  return holds and row or nil, col
end

---@param buf integer
---@param one dgemma.Accepted
---@param whole string
---@param tokens dgemma.Token[]
---@return string? problem
local function draw(buf, one, whole, tokens)
  local row, col = still_at(buf, one)
  if not row then
    return 'what was accepted here has been edited since'
  elseif #tokens == 0 then
    return 'nothing is known of what was accepted here'
  end
  for _, piece in ipairs(M.pieces(one.text, whole, tokens)) do
    local group = M.group(piece.probability)
    -- Blanks before a word are of the same token, and nothing to underline.
    local blanks = #one.text:sub(piece.from + 1, piece.to):match('^%s*')
    local from = piece.from + blanks
    if group and from < piece.to then
      local first, begin = at_byte(one.text, row, col, from)
      local last, stop = at_byte(one.text, row, col, piece.to)
      vim.api.nvim_buf_set_extmark(buf, drawn, first, begin, {
        end_row = last,
        end_col = stop,
        hl_group = group,
      })
      table.insert(weak[buf], { row = first, col = begin, probability = piece.probability })
    end
  end
end

---@param buf integer
local function watch(buf)
  local mine = weak[buf]
  vim.api.nvim_buf_attach(buf, false, {
    on_lines = function()
      if weak[buf] == mine then
        vim.schedule(function()
          if weak[buf] == mine then
            M.clear(buf)
          end
        end)
      end
      return true
    end,
  })
end

---Underline the weak tokens of what was accepted last.
---@param buf integer
---@param done? fun(count: integer) Called with how many there are, once they are drawn.
function M.show(buf, done)
  M.clear(buf)
  local list = accepted[buf] or {}
  if #list == 0 then
    say('nothing was accepted in this buffer', vim.log.levels.WARN)
    return
  end
  local mine = {} ---@type dgemma.WeakToken[]
  weak[buf] = mine
  local tick = vim.api.nvim_buf_get_changedtick(buf)
  local left, known, problem = #list, false, nil ---@type integer, boolean, string?
  ---@param trouble? string
  local function one_done(trouble)
    left = left - 1
    problem, known = problem or trouble, known or trouble == nil
    if left > 0 or weak[buf] ~= mine then
      return
    end
    table.sort(mine, function(a, b)
      return a.probability < b.probability
    end)
    watch(buf)
    if problem and not known then
      weak[buf] = nil
      say(problem, vim.log.levels.WARN)
    elseif #mine == 0 and not done then
      say('the model was sure of everything')
    end
    if done then
      done(#mine)
    end
  end
  for _, one in ipairs(list) do
    local found = client.get(buf)
    if one.tokens then
      one_done(draw(buf, one, one.whole or one.text, one.tokens))
    elseif found and one.offer then
      client.request(found, 'dgemma/confidence', { id = one.offer }, buf, function(trouble, result)
        if weak[buf] == mine and vim.api.nvim_buf_get_changedtick(buf) == tick then
          one_done(trouble or (result and draw(buf, one, result.text, result.tokens)))
        end
      end)
    else
      one_done('nothing is known of what was accepted here')
    end
  end
end

---Underline them, or take the lines away.
---@param buf integer
function M.toggle(buf)
  if weak[buf] then
    M.clear(buf)
  else
    M.show(buf)
  end
end

---Go to the weakest token, from there to the next weakest.
function M.weakest()
  local buf = vim.api.nvim_get_current_buf()
  local function go()
    local list = weak[buf]
    if not list or #list == 0 then
      say('no token is weak here')
      return
    end
    visited[buf] = (visited[buf] or 0) % #list + 1
    local token = list[visited[buf]]
    vim.api.nvim_win_set_cursor(0, { token.row + 1, token.col })
    local text = ('%d/%d, %d %% sure'):format(visited[buf], #list, token.probability * 100 + 0.5)
    vim.api.nvim_echo({ { 'dgemma: ' .. text } }, false, {})
  end
  if weak[buf] then
    go()
  else
    M.show(buf, function()
      if weak[buf] and vim.api.nvim_get_current_buf() == buf then
        go()
      end
    end)
  end
end

---@param buf integer
---@param list dgemma.Taken[]
local function remember(buf, list)
  vim.api.nvim_buf_clear_namespace(buf, tracked, 0, -1)
  accepted[buf] = vim.tbl_map(function(one)
    -- Text put right before it is before it.
    local mark = vim.api.nvim_buf_set_extmark(buf, tracked, one.row, one.col, { strict = false })
    return {
      mark = mark,
      text = one.text,
      whole = one.whole,
      tokens = one.tokens,
      offer = one.offer,
    }
  end, list)
  if config.get().confidence then
    M.show(buf, function() end)
  end
end

---Take note of a suggestion that was accepted.
---@param buf integer
---@param row integer Where it begins, from 0.
---@param col integer
---@param text string
---@param offer? integer
function M.accepted_offer(buf, row, col, text, offer)
  remember(buf, { { row = row, col = col, text = text, offer = offer } })
end

---Where places begin that are going to be accepted together, once they are.
---@param buf integer
---@param chosen dgemma.Place[] First to last.
---@return { row: integer, col: integer }[]
function M.starts(buf, chosen)
  local starts = {}
  -- Where the last one ends, before and after.
  local old, new = { row = 0, col = 0 }, { row = 0, col = 0 }
  for number, place in ipairs(chosen) do
    local at = places.where(buf, place)
    local row = at.first + new.row - old.row
    local col = at.from + (at.first == old.row and new.col - old.col or 0)
    starts[number] = { row = row, col = col }
    old = { row = at.last, col = at.to }
    if place.whole then
      new = { row = row + #place.new, col = 0 }
    else
      local pieces = place.new
      new = { row = row + #pieces - 1, col = (#pieces == 1 and col or 0) + #pieces[#pieces] }
    end
  end
  return starts
end

---Take note of places that were accepted.
---@param buf integer
---@param chosen dgemma.Place[]
---@param starts { row: integer, col: integer }[]
function M.accepted_places(buf, chosen, starts)
  local list = {} ---@type dgemma.Taken[]
  for number, place in ipairs(chosen) do
    if #place.new > 0 then
      list[#list + 1] = {
        row = starts[number].row,
        col = starts[number].col,
        text = table.concat(place.new, '\n'),
        whole = place.raw,
        tokens = place.tokens,
      }
    end
  end
  if #list > 0 then
    remember(buf, list)
  end
end

return M
