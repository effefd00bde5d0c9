---Follows buffers: what happens in one reaches the suggestion that is alive.
local client = require('dgemma.client')
local suggest = require('dgemma.suggest')

local M = {}

---@type table<integer, true>
local attached = {}

---@param buf integer
local function detach(buf)
  if attached[buf] then
    attached[buf] = nil
    pcall(vim.api.nvim_del_augroup_by_name, 'dgemma.suggest.' .. buf)
    suggest.leave(buf)
  end
end

---Follow a buffer.
---@param buf integer
function M.attach(buf)
  if attached[buf] then
    return
  end
  attached[buf] = true
  vim.api.nvim_buf_attach(buf, false, {
    on_lines = function(_, _, _, first, last, new_last)
      suggest.changed(buf, first, last, new_last)
      return not attached[buf]
    end,
    on_detach = function()
      vim.schedule(function()
        detach(buf)
      end)
    end,
  })
  local group = vim.api.nvim_create_augroup('dgemma.suggest.' .. buf, {})
  local function on(events, callback)
    vim.api.nvim_create_autocmd(events, { group = group, buffer = buf, callback = callback })
  end
  on({ 'TextChangedI', 'TextChangedP' }, suggest.typed)
  on({ 'CursorMovedI', 'CompleteChanged' }, suggest.update)
  -- The mode is not yet insert while the one runs, and the menu still there while the other does.
  on({ 'InsertEnter', 'CompleteDone' }, vim.schedule_wrap(suggest.update))
  on({ 'InsertLeave', 'BufLeave' }, suggest.hide)
  on('LspDetach', function(event)
    local left = vim.lsp.get_client_by_id(event.data.client_id)
    if left and left.name == client.NAME then
      detach(buf)
    end
  end)
  suggest.update() -- one may be in insert mode already
end

return M
