---Configuration of the dgemma language server for `vim.lsp.enable('dgemma')` (Neovim 0.11+).
---Settings are those of docs/configuration.md: `vim.lsp.config('dgemma', { settings = ... })`.
---@type vim.lsp.Config
return {
  cmd = { 'dgemma-lsp' },
  filetypes = {
    'go',
    'javascript',
    'javascriptreact',
    'json',
    'jsonc',
    'lua',
    'python',
    'rust',
    'typescript',
    'typescriptreact',
  },
  root_markers = { '.git' },
  settings = { dgemma = {} },
}
