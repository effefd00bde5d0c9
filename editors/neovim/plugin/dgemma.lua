-- Defines names and nothing else: every module is loaded when something of it is first used.
if vim.g.loaded_dgemma then
  return
end
vim.g.loaded_dgemma = true

if vim.fn.has('nvim-0.11') == 0 then
  vim.api.nvim_create_user_command('Dgemma', function()
    vim.notify('dgemma needs Neovim 0.11 or later.', vim.log.levels.ERROR)
  end, { nargs = '*', range = true })
  return
end

vim.api.nvim_create_user_command('Dgemma', function(call)
  require('dgemma.command').run(call)
end, {
  nargs = '*',
  range = true,
  desc = 'Local infill: suggestions, rewrites, repairs',
  complete = function(lead, line)
    return require('dgemma.command').complete(lead, line)
  end,
})

---@param modes string|string[]
---@param name string
---@param call string Name of a function of `dgemma`
---@param about string
local function plug(modes, name, call, about)
  vim.keymap.set(modes, ('<Plug>(dgemma-%s)'):format(name), function()
    require('dgemma')[call]()
  end, { silent = true, desc = 'dgemma: ' .. about })
end

plug({ 'i', 'n' }, 'accept', 'accept', 'accept the suggestion, or the hunk at the cursor')
plug('i', 'accept-word', 'accept_word', 'accept the next word of the suggestion')
plug('i', 'accept-line', 'accept_line', 'accept the next line of the suggestion')
plug({ 'i', 'n' }, 'next', 'next', 'next suggestion, or next hunk')
plug({ 'i', 'n' }, 'prev', 'prev', 'previous suggestion, or previous hunk')
plug({ 'i', 'n' }, 'dismiss', 'dismiss', 'dismiss the suggestion, or reject the hunk at the cursor')
plug({ 'i', 'n' }, 'trigger', 'trigger', 'ask for a suggestion now')
plug('n', 'accept-all', 'accept_all', 'accept all hunks')
plug('n', 'dismiss-all', 'dismiss_all', 'reject all hunks')
plug('n', 'rewrite', 'rewrite', 'rewrite the line at the cursor')
plug('n', 'mend', 'mend', 'mend what does not parse at the cursor')
plug('n', 'redo', 'redo', 'make the hunk at the cursor anew')
plug('n', 'bolder', 'bolder', 'make all hunks anew, further from the old text')
plug('n', 'closer', 'closer', 'make all hunks anew, closer to the old text')
plug('n', 'pin', 'pin', 'pin the line at the cursor, or unpin it')
plug('n', 'holes', 'holes', 'fill the marked holes in the window')
plug('n', 'confidence', 'confidence', 'underline what the model was not sure of')
plug('n', 'weakest', 'weakest', 'go to what the model was least sure of')
for _, name in ipairs({ 'rewrite', 'mend', 'pin', 'holes' }) do
  vim.keymap.set('x', ('<Plug>(dgemma-%s)'):format(name), (':Dgemma %s<CR>'):format(name), {
    silent = true,
    desc = ('dgemma: %s in the selection'):format(name),
  })
end

local group = vim.api.nvim_create_augroup('dgemma', {})

local function highlights()
  -- 0.12 has a group of its own for text that is only proposed.
  local ghost = vim.fn.hlexists('ComplHint') == 1 and 'ComplHint' or 'NonText'
  for name, link in pairs({
    DgemmaGhost = ghost,
    DgemmaHint = 'Comment',
    DgemmaAdd = 'DiffAdd',
    DgemmaDelete = 'DiffDelete',
    DgemmaNoise = 'NonText',
    DgemmaGuess = 'Comment',
    DgemmaSettled = 'Normal',
    DgemmaPin = 'DiagnosticInfo',
    DgemmaWeak = 'DiagnosticUnderlineHint',
    DgemmaWeaker = 'DiagnosticUnderlineWarn',
    DgemmaWeakest = 'DiagnosticUnderlineError',
  }) do
    vim.api.nvim_set_hl(0, name, { link = link, default = true })
  end
end
highlights()
vim.api.nvim_create_autocmd('ColorScheme', { group = group, callback = highlights })

vim.api.nvim_create_autocmd('LspAttach', {
  group = group,
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'dgemma' then
      require('dgemma.follow').attach(event.buf)
    end
  end,
})

vim.api.nvim_create_autocmd('LspProgress', {
  group = group,
  callback = function(event)
    local client = vim.lsp.get_client_by_id(event.data.client_id)
    if client and client.name == 'dgemma' then
      require('dgemma.status').progress(event.data.params.value)
    end
  end,
})

-- The server is enabled with the first file, so that an empty Neovim starts as fast as without it.
vim.api.nvim_create_autocmd({ 'BufReadPre', 'BufNewFile', 'FileType' }, {
  group = group,
  once = true,
  callback = function(event)
    if event.event == 'FileType' then
      -- An autocommand made now would miss the event that is going on.
      vim.schedule(require('dgemma').start)
    else
      require('dgemma').start()
    end
  end,
})
if vim.v.vim_did_enter == 1 then -- loaded late, by a plugin manager
  require('dgemma').start()
end
