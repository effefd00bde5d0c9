---Rewrites of whole lines by an instruction: asked for, watched, and handed on as a proposal.
local client = require('dgemma.client')
local diff = require('dgemma.diff')
local offers = require('dgemma.offers')
local pins = require('dgemma.pins')
local proposal = require('dgemma.proposal')
local running = require('dgemma.running')

local M = {}

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---@param buf integer
---@param first integer
---@param last integer
---@param instruction string
local function run(buf, first, last, instruction)
  local found = client.get(buf)
  if not found then
    return
  end
  offers.remember(instruction)
  local request = { instruction = instruction, noise = 1, seed = 0 }
  running.start({
    buf = buf,
    first = first,
    last = last,
    method = 'dgemma/rewrite',
    title = instruction,
    params = {
      instruction = instruction,
      noise = request.noise,
      seed = request.seed,
      pinned = pins.ranges(found, buf, first, last),
    },
    done = function(server, result)
      if not result.edit or result.edit == vim.NIL then
        running.say_why(result)
        return
      end
      local trouble ---@type string?
      local version = vim.tbl_get(result.edit, 'documentChanges', 1, 'textDocument', 'version')
      if version ~= client.document(buf).version then
        trouble = 'the document has changed since; nothing was rewritten'
      elseif type(result.proposal) == 'number' then
        trouble = proposal.begin(server, buf, result, first, last, request)
      else
        trouble = diff.show(buf, result.edit, instruction)
      end
      if trouble then
        say(trouble, vim.log.levels.WARN)
      end
    end,
  })
end

---Rewrite lines of a buffer; without an instruction the person is asked for one. What the model
---cannot do is said before anything is asked of it.
---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
---@param instruction? string
function M.start(buf, first, last, instruction)
  local found = client.get(buf)
  if not found then
    say('the language server is not attached to this buffer', vim.log.levels.WARN)
    return
  end
  local language = found.get_language_id(buf, vim.bo[buf].filetype)
  local params = { language = language }
  client.request(found, 'dgemma/rewrites', params, buf, function(problem, result)
    local known = result and result.rewrites or {}
    local any = result ~= nil and result.instructions == true
    if problem or (#known == 0 and not any) then
      local message = result and result.message
      say(
        problem
          or (type(message) == 'string' and message)
          or 'the loaded model offers no rewrites for ' .. language,
        vim.log.levels.WARN
      )
      return
    end
    local function go(filled)
      run(buf, first, last, filled)
    end
    if instruction and instruction ~= '' then
      offers.fill_in(instruction, go)
    else
      offers.choose(known, any, go)
    end
  end)
end

return M
