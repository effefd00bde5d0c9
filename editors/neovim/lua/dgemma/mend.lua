---Mending: what does not parse in some lines is denoised again, and the rest stays as it is.
local diff = require('dgemma.diff')
local running = require('dgemma.running')

local M = {}

---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
function M.start(buf, first, last)
  running.start({
    buf = buf,
    first = first,
    last = last,
    method = 'dgemma/mend',
    title = 'mend',
    done = function(_, result)
      if not result.edit or result.edit == vim.NIL then
        running.say_why(result)
        return
      end
      local trouble = diff.show(buf, result.edit, 'mend')
      if trouble then
        vim.notify('dgemma: ' .. trouble, vim.log.levels.WARN)
      end
    end,
  })
end

return M
