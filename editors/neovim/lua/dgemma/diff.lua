---Shows an edit as a difference in place, and applies what is accepted of it.
---
---Old lines are highlighted and new ones drawn under them; the text itself is as it was until a
---hunk is accepted. Any other change of the buffer ends the review: its hunks were made for the
---text that was.
local client = require('dgemma.client')
local hunks = require('dgemma.hunks')

local M = {}

local namespace = vim.api.nvim_create_namespace('dgemma.diff')

---@class dgemma.Review
---@field buf integer
---@field title string
---@field open dgemma.Hunk[] Those without a decision, first to last, where they are now.
---@field tick integer `changedtick` the hunks are for.
---@field applying boolean Whether a change that is going on is ours.

---@type table<integer, dgemma.Review>
local reviews = {}

---@param text string
---@param level integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level)
end

---@param buf integer
local function close(buf)
  reviews[buf] = nil
  if vim.api.nvim_buf_is_valid(buf) then
    vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  end
end

---@param review dgemma.Review
local function draw(review)
  local buf = review.buf
  vim.api.nvim_buf_clear_namespace(buf, namespace, 0, -1)
  local tabstop = vim.bo[buf].tabstop
  for number, hunk in ipairs(review.open) do
    local below = vim.tbl_map(function(line)
      local shown = line:gsub('\t', (' '):rep(tabstop))
      return { { shown == '' and ' ' or shown, 'DgemmaAdd' } }
    end, hunk.lines)
    local hint = ('%d/%d %s: accept or reject'):format(number, #review.open, review.title)
    if hunk.count > 0 then
      vim.api.nvim_buf_set_extmark(buf, namespace, hunk.start, 0, {
        end_row = hunk.start + hunk.count,
        hl_group = 'DgemmaDelete',
        hl_eol = true,
        virt_text = { { ' ' .. hint, 'DgemmaHint' } },
        virt_text_pos = 'eol',
        strict = false,
      })
      vim.api.nvim_buf_set_extmark(buf, namespace, hunk.start + hunk.count - 1, 0, {
        virt_lines = below,
      })
    else
      table.insert(below[1], { ' ' .. hint, 'DgemmaHint' })
      vim.api.nvim_buf_set_extmark(buf, namespace, math.max(hunk.start - 1, 0), 0, {
        virt_lines = below,
        virt_lines_above = hunk.start == 0,
      })
    end
  end
end

---@param review dgemma.Review
---@param number integer
local function go_to(review, number)
  local hunk = review.open[number]
  if hunk and vim.api.nvim_get_current_buf() == review.buf then
    local row = math.min(hunk.start + 1, vim.api.nvim_buf_line_count(review.buf))
    vim.api.nvim_win_set_cursor(0, { row, 0 })
  end
end

---@param buf integer
---@return dgemma.Review?
function M.review(buf)
  return reviews[buf]
end

---Show new lines for a buffer.
---@param buf integer
---@param new string[] All lines as they would be.
---@param title string
---@return boolean shown Whether they differ.
function M.open(buf, new, title)
  close(buf)
  local old = vim.api.nvim_buf_get_lines(buf, 0, -1, false)
  local found = hunks.between(old, new)
  if #found == 0 then
    return false
  end
  local review = {
    buf = buf,
    title = title,
    tick = vim.api.nvim_buf_get_changedtick(buf),
    applying = false,
    open = found,
  } ---@type dgemma.Review
  reviews[buf] = review
  vim.api.nvim_buf_attach(buf, false, {
    on_lines = function()
      if reviews[buf] ~= review then
        return true
      end
      if not review.applying then
        vim.schedule(function()
          if reviews[buf] == review then
            close(buf)
            say(
              'the text was changed, so the rest of the rewrite was taken back',
              vim.log.levels.INFO
            )
          end
        end)
        return true
      end
    end,
    on_detach = function()
      vim.schedule(function()
        if reviews[buf] == review then
          close(buf)
        end
      end)
    end,
  })
  draw(review)
  go_to(review, 1)
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
        text = each.newText,
      }
    end
  end
  local lines = vim.api.nvim_buf_get_lines(buf, 0, -1, false)
  if not M.open(buf, hunks.changed(lines, changes), title) then
    return 'it would change nothing'
  end
end

---@param review dgemma.Review
---@return integer number Of the hunk at the cursor, or of the next one.
local function at_cursor(review)
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  for number, hunk in ipairs(review.open) do
    if row < hunk.start + math.max(hunk.count, 1) then
      return number
    end
  end
  return #review.open
end

---@param review dgemma.Review
---@param number integer
---@return integer added Lines by which the text has grown.
local function put(review, number)
  local hunk = review.open[number]
  vim.api.nvim_buf_set_lines(review.buf, hunk.start, hunk.start + hunk.count, true, hunk.lines)
  return #hunk.lines - hunk.count
end

---Take some hunks off the review, applying them or not, as one step to undo.
---@param review dgemma.Review
---@param first integer
---@param last integer
---@param accepted boolean
local function settle(review, first, last, accepted)
  local buf = review.buf
  if vim.api.nvim_buf_get_changedtick(buf) ~= review.tick or not vim.bo[buf].modifiable then
    close(buf)
    say('the text was changed, so the rewrite was taken back', vim.log.levels.WARN)
    return
  end
  local added = 0
  if accepted then
    review.applying = true
    -- From the last one on, so that the places of the others hold.
    for number = last, first, -1 do
      added = added + put(review, number)
    end
    review.applying = false
    review.tick = vim.api.nvim_buf_get_changedtick(buf)
  end
  for number = last + 1, #review.open do
    review.open[number].start = review.open[number].start + added
  end
  for _ = first, last do
    table.remove(review.open, first)
  end
  if #review.open == 0 then
    close(buf)
  else
    draw(review)
    go_to(review, math.min(first, #review.open))
  end
end

---Accept or reject the hunk at the cursor, or all of them.
---@param accepted boolean
---@param all boolean
---@return boolean done Whether there was a review.
function M.decide(accepted, all)
  local review = reviews[vim.api.nvim_get_current_buf()]
  if not review then
    return false
  end
  local number = at_cursor(review)
  settle(review, all and 1 or number, all and #review.open or number, accepted)
  return true
end

---Go to the next or the previous hunk.
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
