---Choosing the model, and bringing one onto this machine.
local client = require('dgemma.client')

local M = {}

---@class dgemma.KnownModel
---@field name string
---@field description string
---@field licence string
---@field sizeMb? integer
---@field installed boolean
---@field current boolean

---@type fun()? Ends the download that is under way.
local cancel_pull

---@param text string
---@param level? integer
local function say(text, level)
  vim.notify('dgemma: ' .. text, level or vim.log.levels.INFO)
end

---@param model dgemma.KnownModel
---@return string
function M.label(model)
  local about = { model.licence }
  if type(model.sizeMb) == 'number' then
    local mb = model.sizeMb
    about[#about + 1] = mb < 1000 and ('%d MB'):format(mb) or ('%.1f GB'):format(mb / 1000)
  end
  about[#about + 1] = model.current and 'in use' or model.installed and 'here' or 'to be fetched'
  return ('%s  %s (%s)'):format(model.name, model.description, table.concat(about, ', '))
end

---Use a model from the next request on.
---@param name string
function M.use(name)
  client.configure({ runtime = { model = name } })
  say(('the model is %s from the next request on'):format(name))
end

---@param found vim.lsp.Client
---@param buf integer
---@param name string
local function pull(found, buf, name)
  if cancel_pull then
    say('a model is being fetched already; :Dgemma cancel ends that', vim.log.levels.WARN)
    return
  end
  say(('fetching %s; :Dgemma cancel ends it'):format(name))
  cancel_pull = client.request(
    found,
    'dgemma/pullModel',
    { name = name },
    buf,
    function(trouble, result)
      cancel_pull = nil
      if result and result.pulled then
        M.use(name)
      else
        local message = trouble or (result and result.message)
        say(
          type(message) == 'string' and message or ('%s was not fetched'):format(name),
          vim.log.levels.ERROR
        )
      end
    end
  )
end

---End the download that is under way.
---@return boolean ended
function M.cancel()
  if not cancel_pull then
    return false
  end
  cancel_pull()
  cancel_pull = nil
  say('the download was ended')
  return true
end

---@param found vim.lsp.Client
---@param buf integer
---@param model dgemma.KnownModel
local function take(found, buf, model)
  if model.installed then
    M.use(model.name)
  else
    pull(found, buf, model.name)
  end
end

---Let the person choose a model, or take the one that is named.
---@param found vim.lsp.Client
---@param name? string
function M.pick(found, name)
  local buf = vim.api.nvim_get_current_buf()
  client.request(found, 'dgemma/models', vim.empty_dict(), buf, function(trouble, result)
    local models = result and result.models or {} ---@type dgemma.KnownModel[]
    if trouble or #models == 0 then
      local message = trouble or (result and result.message)
      say(type(message) == 'string' and message or 'no models are known', vim.log.levels.WARN)
      return
    end
    for _, model in ipairs(models) do
      if model.name == name then
        take(found, buf, model)
        return
      end
    end
    if name then
      say(('there is no model `%s`'):format(name), vim.log.levels.ERROR)
      return
    end
    vim.ui.select(models, {
      prompt = 'Model:',
      kind = 'dgemma.model',
      format_item = M.label,
    }, function(model)
      if model then
        take(found, buf, model)
      end
    end)
  end)
end

return M
