---Mending: what does not parse in some lines is denoised again, and the rest stays as it is.
local rewrite = require('dgemma.rewrite')

local M = {}

---@param buf integer
---@param first integer From 0.
---@param last integer From 0.
function M.start(buf, first, last)
  rewrite.request(buf, first, last, 'dgemma/mend', 'mend')
end

return M
