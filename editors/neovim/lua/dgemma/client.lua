---The language server's client: found, asked, stopped. Only place that knows LSP's positions.
local M = {}

M.NAME = 'dgemma'

---Requests under way that a person may wait for.
local waiting = 0
---@type fun()[]
local listeners = {}

local LEVELS = {
  vim.log.levels.ERROR,
  vim.log.levels.WARN,
  vim.log.levels.INFO,
  vim.log.levels.DEBUG,
}

---Have the server's messages told as all of ours are, and not in a way that waits for a key.
function M.prepare()
  vim.lsp.config(M.NAME, {
    handlers = {
      ['window/showMessage'] = function(_, params)
        vim.notify(params.message, LEVELS[params.type] or vim.log.levels.INFO)
        return vim.NIL
      end,
    },
  })
end

---Call a function whenever something begins or ends.
---@param listener fun()
function M.on_change(listener)
  listeners[#listeners + 1] = listener
end

local function changed()
  for _, listener in ipairs(listeners) do
    listener()
  end
end

---@return boolean
function M.busy()
  return waiting > 0
end

---@param buf integer
---@return vim.lsp.Client?
function M.get(buf)
  for _, client in ipairs(vim.lsp.get_clients({ name = M.NAME, bufnr = buf })) do
    if not client:is_stopped() then
      return client
    end
  end
end

---The client of a buffer, or of any when the buffer has none.
---@param buf integer
---@return vim.lsp.Client?
function M.any(buf)
  return M.get(buf) or vim.lsp.get_clients({ name = M.NAME })[1]
end

---@param err lsp.ResponseError
---@param method string
---@return string
local function in_words(err, method)
  if err.code == vim.lsp.protocol.ErrorCodes.MethodNotFound then
    return ('this server does not know %s; update dgemma'):format(method)
  end
  return err.message or ('%s failed'):format(method)
end

---Send a request. The callback is not called once the request is cancelled.
---@param client vim.lsp.Client
---@param method string
---@param params table
---@param buf integer
---@param callback fun(problem: string?, result: any)
---@return fun() cancel
function M.request(client, method, params, buf, callback)
  local over = false
  local quiet = method == 'dgemma/status'
  local function finish()
    over = true
    if not quiet then
      waiting = waiting - 1
      changed()
    end
  end
  if not quiet then
    waiting = waiting + 1
    changed()
  end
  -- A method of ours is in no list of LSP's, whose types the client is annotated with.
  ---@diagnostic disable-next-line: param-type-mismatch
  local sent, id = client:request(method, params, function(err, result)
    if over then
      return
    end
    finish()
    if result == vim.NIL then
      result = nil
    end
    callback(err and in_words(err, method) or nil, result)
  end, buf)
  if not sent or not id then
    finish()
    vim.schedule(function()
      callback('the language server has ended', nil)
    end)
    return function() end
  end
  return function()
    if not over then
      finish()
      client:cancel_request(id)
    end
  end
end

---Run the command of an item, as LSP asks after it was inserted.
---@param client vim.lsp.Client
---@param command lsp.Command
---@param buf integer
function M.execute(client, command, buf)
  local params = { command = command.command, arguments = command.arguments }
  client:request('workspace/executeCommand', params, function() end, buf)
end

---@param buf integer
---@param row integer From 0.
---@return string
local function line_of(buf, row)
  return vim.api.nvim_buf_get_lines(buf, row, row + 1, false)[1] or ''
end

---@param client vim.lsp.Client
---@param buf integer
---@param row integer From 0.
---@param col integer Bytes.
---@return lsp.Position
function M.position(client, buf, row, col)
  local line = line_of(buf, row)
  return {
    line = row,
    character = vim.str_utfindex(line, client.offset_encoding, math.min(col, #line), false),
  }
end

---@param client vim.lsp.Client
---@param buf integer
---@param position lsp.Position
---@return integer col Bytes.
function M.column(client, buf, position)
  local line = line_of(buf, position.line)
  return vim.str_byteindex(line, client.offset_encoding, position.character, false)
end

---The range of whole lines, from the first's start to the last's end.
---@param client vim.lsp.Client
---@param buf integer
---@param first integer From 0.
---@param last integer From 0, the last one itself.
---@return lsp.Range
function M.lines(client, buf, first, last)
  return {
    start = { line = first, character = 0 },
    ['end'] = M.position(client, buf, last, #line_of(buf, last)),
  }
end

---A document as our methods name it: with the version that the client has told the server.
---@param buf integer
---@return { uri: string, version: integer }
function M.document(buf)
  return { uri = vim.uri_from_bufnr(buf), version = vim.lsp.util.buf_versions[buf] }
end

---Change settings of the server, for the clients that run and those to come.
---@param settings table What stands under `dgemma`.
function M.configure(settings)
  vim.lsp.config(M.NAME, { settings = { dgemma = settings } })
  for _, client in ipairs(vim.lsp.get_clients({ name = M.NAME })) do
    client.settings = vim.tbl_deep_extend('force', client.settings or {}, { dgemma = settings })
    client:notify('workspace/didChangeConfiguration', { settings = client.settings })
  end
end

---@param name string
---@return any
function M.setting(name)
  local config = vim.lsp.config[M.NAME]
  return vim.tbl_get(config or {}, 'settings', 'dgemma', name)
end

---End the servers and start them again for the buffers they had.
---@param done fun()
function M.restart(done)
  local clients = vim.lsp.get_clients({ name = M.NAME })
  for _, client in ipairs(clients) do
    client:stop()
  end
  local began = vim.uv.now()
  local timer = assert(vim.uv.new_timer())
  timer:start(
    20,
    20,
    vim.schedule_wrap(function()
      local left = vim.tbl_filter(function(client)
        return not client:is_stopped()
      end, clients)
      if #left > 0 and vim.uv.now() - began < 3000 then
        return
      end
      if timer:is_closing() then
        return
      end
      timer:close()
      for _, client in ipairs(left) do
        client:stop(true)
      end
      vim.lsp.enable(M.NAME)
      done()
    end)
  )
end

return M
