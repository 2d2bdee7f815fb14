-- promote: makes due SCHEDULED jobs WAITING, at most `limit` of them; says whether more are due.
local function promote(limit)
  local due = redis.call('ZRANGEBYSCORE', key('s'), '-inf', NOW, 'LIMIT', 0, limit + 1)
  for i = 1, math.min(#due, limit) do
    local job = load(struct.unpack('>I6', due[i]))
    if job and job.state == SCHEDULED then
      job.state = WAITING
      changed(job)
    else
      redis.call('ZREM', key('s'), due[i])
    end
  end
  if #due > 0 then commit() end
  return #due > limit
end
