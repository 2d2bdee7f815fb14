-- hindrances: why a job that is due may not begin, from what claims read.
local limits_now = nil

-- The limit that holds a job back, or its turn; false: neither does.
local function hindrance(job)
  if job.state ~= WAITING and not (job.state == SCHEDULED and job.due <= NOW) then return false end
  local queue = redis.call('HMGET', key('q'), 'limits', 'halted')
  if not queue[1] then return false end
  limits_now = limits_now or read_limits(queue[1])
  local k, keeps_place = condition(job, LIMIT_KEY) or '', has(job, FILED) and job.ends == 1
  for _, limit in ipairs(limits_now) do
    if covers(limit, job.type, k) then
      limit.halts = tonumber(queue[2] or 0) > NOW
      local name = places_of_limit(limit, k)
      local active = redis.call('ZCARD', key(name))
      local run = keeps_place and limit.scope == OF_KEY and active > 0 and running_in(name) or active
      if limit.most > 0 and run >= limit.most then
        return {'LIMIT', limit.name, active, limit.most, 0}
      end
      local room, till = room_by_rate(limit, k)
      if room <= 0 then return {'LIMIT', limit.name, active, limit.most, till} end
    end
  end
  local stands = in_mode(string.byte(queue[1]), FAIR) and redis.call('HGET', key('t' .. k), job.type)
  if not stands or string.sub(stands, 1, 1) ~= 'O' then return false end
  local head = foremost('w' .. job.type .. ':' .. k)
  local said = redis.call('HGET', key('T'), k)
  if not said or not head then return false end
  local tag = string.format('%d', (read_tag(said)))
  return {'TURN', k, rank(key('G' .. job.type), tag, given_of(job.type, k, stands) .. head)}
end
