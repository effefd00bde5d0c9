---Draws the canvas of something that runs, over the text it stands in for: noise dim, guesses less
---so, what is settled as it will be. The text below moves down at most, and never up and down.
local client = require('dgemma.client')
local ghost = require('dgemma.ghost')
local places = require('dgemma.places')

local M = {}

---Least milliseconds between two drawings; the server is asked to send no more either.
M.EVERY = 80

local namespace = vim.api.nvim_create_namespace('dgemma.preview')
local GROUPS = { noise = 'DgemmaNoise', guess = 'DgemmaGuess', settled = 'DgemmaSettled' }

---@class dgemma.Preview
---@field token string
---@field candidate integer
---@field step integer
---@field maxSteps integer
---@field spans [string, 'noise'|'guess'|'settled'][][]
---@field canvas integer
---@field ranges lsp.Range[]

---@alias dgemma.Chunks [string, string][]

---@type table<string, fun(preview: dgemma.Preview)>
local followers = {}
local count = 0

---Lay tokens out in lines.
---@param tokens [string, string][] Texts and states.
---@param tabstop integer
---@return dgemma.Chunks[]
function M.layout(tokens, tabstop)
  local lines = { {} } ---@type dgemma.Chunks[]
  local column = 0
  for _, token in ipairs(tokens) do
    local text, group = token[1], GROUPS[token[2]] or 'DgemmaSettled'
    -- What stands in noise is chance, and would only be read.
    local pieces = token[2] == 'noise' and { '░' } or places.split(text)
    for number, piece in ipairs(pieces) do
      if number > 1 then
        lines[#lines + 1] = {}
        column = 0
      end
      if piece ~= '' then
        local shown = ghost.expanded(piece, tabstop, column)
        column = column + vim.fn.strdisplaywidth(shown)
        table.insert(lines[#lines], { shown, group })
      end
    end
  end
  return lines
end

---@param chunks dgemma.Chunks
---@return integer
local function width_of(chunks)
  local width = 0
  for _, chunk in ipairs(chunks) do
    width = width + vim.fn.strdisplaywidth(chunk[1])
  end
  return width
end

---@param lines dgemma.Chunks[]
---@param from integer The first one taken, from 1.
---@param least integer How many there are to be at least.
---@return dgemma.Chunks[]
local function below(lines, from, least)
  local made = vim.list_slice(lines, from)
  while #made < least do
    made[#made + 1] = {}
  end
  return vim.tbl_map(function(chunks)
    return #chunks > 0 and chunks or { { ' ', 'DgemmaSettled' } }
  end, made)
end

---Draw tokens over whole lines.
---@param buf integer
---@param first integer
---@param last integer Not in it.
---@param lines dgemma.Chunks[]
---@param room integer Lines that are to be kept free below.
---@return integer room
local function over_lines(buf, first, last, lines, room)
  if #lines > 1 and #lines[#lines] == 0 then
    table.remove(lines) -- behind the line break that ends the last line
  end
  for row = first, last - 1 do
    local old = vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ''
    local chunks = vim.list_slice(lines[row - first + 1] or {})
    local missing = vim.fn.strdisplaywidth(old) - width_of(chunks)
    if missing > 0 then
      chunks[#chunks + 1] = { (' '):rep(missing), 'DgemmaSettled' }
    end
    vim.api.nvim_buf_set_extmark(buf, namespace, row, 0, {
      -- A wrapped line is covered on its first row alone; the rest of it is dim.
      end_row = row,
      end_col = #old,
      hl_group = 'DgemmaNoise',
      virt_text = #chunks > 0 and chunks or nil,
      virt_text_pos = 'overlay',
      strict = false,
    })
  end
  local more = below(lines, last - first + 1, room)
  if #more > 0 then
    vim.api.nvim_buf_set_extmark(buf, namespace, math.max(last - 1, 0), 0, {
      virt_lines = more,
      virt_lines_above = last == 0,
      strict = false,
    })
  end
  return #more
end

---Draw tokens before a text within a line.
---@param buf integer
---@param at dgemma.Where
---@param lines dgemma.Chunks[]
---@param room integer
---@return integer room
local function within(buf, at, lines, room)
  local more = below(lines, 2, room)
  vim.api.nvim_buf_set_extmark(buf, namespace, at.first, at.from, {
    end_row = at.last,
    end_col = at.to,
    hl_group = 'DgemmaNoise',
    virt_text = #lines[1] > 0 and lines[1] or nil,
    virt_text_pos = 'inline',
    virt_lines = #more > 0 and more or nil,
    strict = false,
  })
  return #more
end

---@param buf integer
function M.clear(buf)
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  end
end

---@param found vim.lsp.Client
---@param buf integer
---@param range lsp.Range
---@return dgemma.Where
local function where(found, buf, range)
  local rows = vim.api.nvim_buf_line_count(buf)
  local start, stop = range.start, range['end']
  return {
    first = math.min(start.line, rows - 1),
    from = client.column(found, buf, start),
    last = math.min(stop.line, rows),
    to = client.column(found, buf, stop),
  }
end

---@param found vim.lsp.Client
---@param buf integer
---@param preview dgemma.Preview
---@param rooms integer[] What was kept free under each span so far.
local function draw(found, buf, preview, rooms)
  M.clear(buf)
  local tabstop = vim.bo[buf].tabstop
  for number, tokens in ipairs(preview.spans) do
    local range = preview.ranges[number]
    if range then
      local at = where(found, buf, range)
      local lines = M.layout(tokens, tabstop)
      local room = rooms[number] or 0
      local line = vim.api.nvim_buf_get_lines(buf, at.last, at.last + 1, false)[1] or ''
      if at.from == 0 and (at.to == 0 or at.to == #line) and at.last + at.to > at.first then
        local last = at.to == 0 and at.last or at.last + 1
        rooms[number] = over_lines(buf, at.first, last, lines, room)
      else
        rooms[number] = within(buf, at, lines, room)
      end
    end
  end
end

---Draw what comes for a token, until told to stop.
---@param found vim.lsp.Client
---@param buf integer
---@param range? lsp.Range What a span without a range of its own stands in for.
---@param stepped? fun(preview: dgemma.Preview) Called with everything that is drawn.
---@return string token
---@return fun() stop
function M.follow(found, buf, range, stepped)
  count = count + 1
  local token = ('dgemma-%d'):format(count)
  local rooms = {} ---@type integer[]
  local canvas = 0
  local drawn = -M.EVERY
  local latest ---@type dgemma.Preview?
  local timer = assert(vim.uv.new_timer())
  local tick = vim.api.nvim_buf_get_changedtick(buf)

  local function show()
    local preview = latest
    latest = nil
    if not preview or not followers[token] or not vim.api.nvim_buf_is_loaded(buf) then
      return
    end
    if vim.api.nvim_buf_get_changedtick(buf) ~= tick then
      M.clear(buf) -- the ranges are those of a text that has gone
      return
    end
    drawn = vim.uv.now()
    if preview.canvas ~= canvas then
      canvas, rooms = preview.canvas, {}
    end
    draw(found, buf, preview, rooms)
    if stepped then
      stepped(preview)
    end
  end

  followers[token] = function(preview)
    if preview.candidate ~= 0 then
      return -- one is enough to look at
    end
    if #(preview.ranges or {}) == 0 and range then
      preview.ranges = { range }
    end
    local waits = latest ~= nil
    latest = preview
    local left = M.EVERY - (vim.uv.now() - drawn)
    if left <= 0 then
      show()
    elseif not waits then
      timer:start(left, 0, vim.schedule_wrap(show))
    end
  end
  return token,
    function()
      if followers[token] then
        followers[token] = nil
        timer:stop()
        timer:close()
        M.clear(buf)
      end
    end
end

-- Found by the method's name, as for every notification of a server.
vim.lsp.handlers['dgemma/preview'] = function(_, preview)
  local follower = followers[preview.token]
  if follower then
    follower(preview)
  end
end

return M
