---Instructions for rewrites: those the loaded model knows, with their places filled in, those that
---were used lately, and where the model takes any, one's own.
---
---What was asked for lately is offered first; Neovim's ShaDa file keeps it, being a global in
---capitals. It is in the history of the prompt as well.
local M = {}

local KEPT = 20

---@class dgemma.Offer
---@field kind string
---@field instruction string `{a}` stands for an argument.
---@field success number Measured share of rewrites that were right, 0 to 1.
---@field languages string[]

---@return string[]
function M.history()
  local kept = vim.g.DGEMMA_REWRITES
  return type(kept) == 'table' and kept or {}
end

---@param instruction string
function M.remember(instruction)
  local list = { instruction }
  for _, each in ipairs(M.history()) do
    if each ~= instruction and #list < KEPT then
      list[#list + 1] = each
    end
  end
  vim.g.DGEMMA_REWRITES = list
end

---@param instruction string
---@return string[] names Its arguments, each once.
function M.arguments(instruction)
  local names, seen = {}, {}
  for name in instruction:gmatch('{(%a[%w_]*)}') do
    if not seen[name] then
      seen[name] = true
      names[#names + 1] = name
    end
  end
  return names
end

---@param instruction string
---@param values table<string, string>
---@return string
function M.filled(instruction, values)
  return (instruction:gsub('{(%a[%w_]*)}', values))
end

---Whether an instruction is an offer with its places filled in.
---@param instruction string
---@param offer dgemma.Offer
---@return boolean
function M.matches(instruction, offer)
  local pattern = vim.pesc(offer.instruction):gsub('{%a[%w_]*}', '.+')
  return instruction:match('^' .. pattern .. '$') ~= nil
end

---@param prompt string
---@param done fun(text: string)
local function prompt_for(prompt, done)
  vim.ui.input({ prompt = prompt }, function(value)
    if value and vim.trim(value) ~= '' then
      done(vim.trim(value))
    end
  end)
end

---Ask for the arguments of an instruction, one after the other.
---@param instruction string
---@param done fun(instruction: string)
function M.fill_in(instruction, done)
  local names, values = M.arguments(instruction), {}
  local function next_one(number)
    local name = names[number]
    if not name then
      done(M.filled(instruction, values))
      return
    end
    local prompt = ('%s — %s: '):format(M.filled(instruction, values), name)
    prompt_for(prompt, function(value)
      values[name] = value
      next_one(number + 1)
    end)
  end
  next_one(1)
end

---Ask for an instruction in one's own words; <Up> brings earlier ones.
---@param done fun(instruction: string)
local function own_words(done)
  local earlier = M.history()
  for number = #earlier, 1, -1 do
    vim.fn.histadd('input', earlier[number])
  end
  prompt_for('Rewrite: ', done)
end

---Let the person choose.
---@param offers dgemma.Offer[]
---@param any boolean Whether the model takes any instruction.
---@param done fun(instruction: string)
function M.choose(offers, any, done)
  ---@type { text: string, label: string }[]
  local choices = {}
  for _, text in ipairs(M.history()) do
    local known = any
    for _, offer in ipairs(offers) do
      known = known or M.matches(text, offer)
    end
    -- Without arguments it stands among the offers anyway.
    for _, offer in ipairs(offers) do
      known = known and text ~= offer.instruction
    end
    if known then
      choices[#choices + 1] = { text = text, label = text .. '  (again)' }
    end
  end
  for _, offer in ipairs(offers) do
    local label = ('%s  (right in %d %%)'):format(offer.instruction, offer.success * 100 + 0.5)
    choices[#choices + 1] = { text = offer.instruction, label = label }
  end
  if #choices == 0 then
    own_words(done)
    return
  end
  if any then
    choices[#choices + 1] = { text = '', label = 'in your own words …' }
  end
  vim.ui.select(choices, {
    prompt = 'Rewrite the selection:',
    kind = 'dgemma.rewrite',
    format_item = function(choice)
      return choice.label
    end,
  }, function(choice)
    if choice and choice.text == '' then
      own_words(done)
    elseif choice then
      M.fill_in(choice.text, done)
    end
  end)
end

return M
