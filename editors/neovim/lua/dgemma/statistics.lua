---What was shown, accepted and kept, in lines for a person.
local M = {}

---@param value any
---@return any
local function given(value)
  if value ~= vim.NIL then
    return value
  end
end

---@param name string
---@param counts table Of `Counts`.
---@return string
local function row(name, counts)
  local shown = counts.shown or 0
  local share = shown > 0 and ('%d %%'):format(100 * counts.accepted / shown + 0.5) or '–'
  local half, most = given(counts.latencyP50Ms), given(counts.latencyP95Ms)
  return ('%-12s %8d %8d %8d %6s %8d %8d %8d  %s'):format(
    name,
    counts.requests,
    shown,
    counts.accepted,
    share,
    counts.partlyAccepted,
    counts.rejected,
    counts.kept,
    half and ('%d ms'):format(half) .. (most and (' (%d ms)'):format(most) or '') or '–'
  )
end

---@param result { path: string, since?: string, total: table, byLanguage: table<string, table> }
---@return string[]
function M.report(result)
  local lines = {
    given(result.since) and ('since %s, in %s'):format(result.since, result.path)
      or ('nothing was counted yet; it would be in %s'):format(result.path),
    'counted on this machine and sent nowhere; :Dgemma stats erase forgets it',
    '',
    ('%-12s %8s %8s %8s %6s %8s %8s %8s  %s'):format(
      '',
      'asked',
      'shown',
      'accepted',
      '',
      'partly',
      'rejected',
      'kept',
      'half within (95 %)'
    ),
  }
  for language, counts in vim.spairs(result.byLanguage or {}) do
    lines[#lines + 1] = row(language, counts)
  end
  lines[#lines + 1] = row('all', result.total)
  return lines
end

return M
