-- pausing: a limit lets nothing begin before a time, because a job that failed said so; kept as lib/rates does. `halted` of
-- the queue's hash is the last such time of all its limits: before it claims ask each limit.
--- @rare
local function pause_limit(job, name, till)
  local queue = redis.call('HMGET', key('q'), 'limits', 'halted')
  local k = condition(job, LIMIT_KEY) or ''
  for _, limit in ipairs(read_limits(queue[1] or '')) do
    local at = key(limit.scope == OF_KEY and 'R' .. name .. ':' .. k or 'R' .. name)
    local counts = limit.scope == OF_QUEUE or limit.type == '' or limit.type == job.type
    if limit.name == name and counts and till > NOW and not (limit.scope == OF_KEY and k == '') then
      local kept, full, halted = redis.call('GET', at), 0, 0
      if kept then full, halted = struct.unpack('>dI6', kept) end
      halted = math.max(halted, till)
      redis.call('SET', at, struct.pack('>dI6', full, halted), 'PX', math.ceil(math.max(full, halted) - NOW))
      redis.call('HSET', key('q'), 'halted', string.format('%d', math.max(till, tonumber(queue[2] or 0))))
    end
  end
end
