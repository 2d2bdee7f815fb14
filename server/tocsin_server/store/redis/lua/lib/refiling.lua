-- refiling: rows of keys that stand as an earlier setting had it are brought in line, some a claim, best first; so a
-- change of settings costs little at once, however many jobs wait. REFILING stands until none is left.
local REFILED_AT_ONCE = 50

-- Rows whose time has come; also while the queue is paused, or a time that has passed would be told as the next one, before
-- that at which the pause ends. Returns whether there are more.
local function go_on(asked)
  local due = redis.call('ZRANGEBYSCORE', key('p'), '-inf', NOW, 'LIMIT', '0', REFILED_AT_ONCE + 1)
  local others = false
  for i = 1, math.min(#due, REFILED_AT_ONCE) do
    local type, k = string.match(due[i], '^(.-):(.*)$')
    stirred.p = true
    if k then reopen(type, k) else redis.call('ZREM', key('p'), due[i]) end
    if not asked[type or due[i]] then others = true end
  end
  if others then
    wake = 1
    publish(1, 0)
  end
  return #due > REFILED_AT_ONCE
end

-- Heads that stand among others than those of now, and of a queue whose keys take turns jobs in the rows of types.
local function refile_type(type)
  local wrong = (in_mode(filing, FAIR) and 'g' or 'G') .. type
  local heads = redis.call('ZRANGE', key(wrong), '0', REFILED_AT_ONCE - 1)
  for _, head in ipairs(heads) do
    local job = load((struct.unpack('>I6', head, #head - 5)))
    if job and job.key then
      reopen(type, job.key)
    else
      redis.call('ZREM', key(wrong), head)
    end
  end
  local left = #heads
  if in_mode(filing, FAIR) then
    for _, one in ipairs(redis.call('ZRANGE', key('w' .. type), '0', REFILED_AT_ONCE - 1)) do
      local job = load((struct.unpack('>I6', one, 7)))
      left = left + 1
      if job and job.state == WAITING then
        job.quiet = true
        touch(job)
      else
        redis.call('ZREM', key('w' .. type), one)
      end
    end
  elseif not in_mode(filing, KEYED) then
    left = left + redis.call('ZCARD', key('g' .. type))
  end
  return left
end

-- Where the order of jobs has become another, the heads of rows of keys may be others: `rehead` says how far that was looked
-- at, as >B type, B score, member of the last head; empty: not at all. Returns how many were looked at; 0: it is done.
local function choose_heads_anew()
  local said, types, left = redis.call('HGET', key('q'), 'rehead'), {}, REFILED_AT_ONCE
  if not said then return 0 end
  local from, score, last = '', nil, nil
  if said ~= '' then from, score, last = struct.unpack('>Bc0Bc0', said) end
  if score then last = string.sub(said, #from + #score + 3) end
  for _, name in ipairs(redis.call('HKEYS', key('n'))) do
    local type = string.sub(name, 3)
    if string.sub(name, 1, 2) == WAITING .. ':' and type >= from then types[#types + 1] = type end
  end
  table.sort(types)
  for _, type in ipairs(types) do
    local row = key(heads_of(type))
    local start = type == from and score and rank(row, score, last) or 0
    local heads = redis.call('ZRANGE', row, start, start + left - 1, 'WITHSCORES')
    for i = 1, #heads, 2 do
      local job = load((struct.unpack('>I6', heads[i], #heads[i] - 5)))
      if job and job.key then reopen(type, job.key) else redis.call('ZREM', row, heads[i]) end
    end
    left = left - #heads / 2
    if left == 0 then
      score = heads[#heads]
      redis.call('HSET', key('q'), 'rehead', struct.pack('>Bc0Bc0', #type, type, #score, score) .. heads[#heads - 1])
      return REFILED_AT_ONCE
    end
  end
  redis.call('HDEL', key('q'), 'rehead')
  return 0
end

-- Returns whether there is more to be done.
local function refile(limits, generation)
  local parked = redis.call('ZRANGEBYSCORE', key('P'), '-inf', '(' .. generation, 'LIMIT', '0', REFILED_AT_ONCE)
  for _, m in ipairs(parked) do reopen(string.match(m, '^(.-):(.*)$')) end
  local left = #parked
  for _, name in ipairs(redis.call('HKEYS', key('n'))) do
    if string.sub(name, 1, 2) == WAITING .. ':' then left = left + refile_type(string.sub(name, 3)) end
  end
  left = left + choose_heads_anew()
  commit()
  if left > 0 then return #parked == REFILED_AT_ONCE or in_mode(filing, FAIR) or in_mode(filing, KEYED) end
  filing = filing - REFILING
  new_mode = filing
  local mode = filing % 16 >= HELD and filing - HELD or filing
  if mode == 0 then
    redis.call('HDEL', key('q'), 'limits')
    redis.call('UNLINK', key('p'))  -- the pause, which claims ask for first, is not in it
    stirred.p = true
  else
    redis.call('HSET', key('q'), 'limits', string.char(mode) .. string.sub(limits, 2))
  end
  return false
end
