#!lua flags=allow-oom
-- trim: delete ended jobs past their retention, by age and then by count; end those that were to begin and have not.
-- KEYS[1]  root of the queue
-- ARGV     1 completed_max | 2 failed_max | 3 limit | 4 ms after its end during which a job is spared by count
-- Returns  how many were deleted or ended, or put off, as others are still to hear of their end (lib/following)
-- Events   one a job, "deleted" of those
-- Bounds   at most `limit` a call; the queue's own maxima (cmax, fmax of its hash) go first
--- @include lib/keys lib/clock lib/conditions lib/rare lib/job lib/rows lib/events lib/tick lib/writes lib/following lib/key_rows lib/limits lib/levels lib/filing lib/turns lib/commit lib/transitions
local left, removed = tonumber(ARGV[3]), 0

local function drop(members, row)
  local alike, put_off = {}, {}  -- alike: by meta
  for _, arrival in ipairs(members) do
    local n, meta, own = struct.unpack('>I6', arrival), read(arrival)
    local first = meta and alike[meta]
    local job = meta and (not first or has(first, CONDITIONS)) and job_of(n, arrival, meta, own)
    if job and ended(job.state) and is_untold(job) then
      if row == key('x') then
        put_off[#put_off + 1], put_off[#put_off + 2] = string.format('%d', NOW + ERRAND_MS), arrival
      end
    elseif first then
      join(first, n, arrival, own)
    elseif job and ended(job.state) then
      alike[meta] = remove(job)
    elseif not (job and expired(job)) then
      redis.call('ZREM', row, arrival)
    end
  end
  if #put_off > 0 then
    redis.call('ZADD', key('x'), unpack(put_off))
    stirred.x = true
  end
  if #order > 0 then commit() elseif #put_off > 0 then flush_tick(0) end
  removed, left = removed + #members, left - #members
end

local function by_count(row, max)
  local excess = redis.call('ZCARD', row) - max
  if excess <= 0 or left <= 0 then return end
  drop(redis.call('ZRANGEBYSCORE', row, '-inf', NOW - tonumber(ARGV[4]), 'LIMIT', 0, math.min(excess, left)), row)
end

drop(redis.call('ZRANGEBYSCORE', key('x'), '-inf', NOW, 'LIMIT', 0, left), key('x'))
by_count(key('e'), tonumber(redis.call('HGET', key('q'), 'cmax') or ARGV[1]))
by_count(key('f'), tonumber(redis.call('HGET', key('q'), 'fmax') or ARGV[2]))
return removed
