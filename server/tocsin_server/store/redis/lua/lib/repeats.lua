-- repeats: what a request has leased already, as answers. ACTIVE jobs are few, and repeats rare: short scripts are not sent
-- for them (scripts.py).
--- @rare
local function leased_before(request)
  local found = {}
  for _, member in ipairs(redis.call('ZRANGE', key('a'), 0, -1)) do
    local job = load(struct.unpack('>I6', member))
    if job and job.token == request then found[#found + 1] = answer(load_full(job.n)) end
  end
  return found
end
