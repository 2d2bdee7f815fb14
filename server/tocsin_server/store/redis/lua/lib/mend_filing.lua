-- mend_filing: what mends count, and the same for how jobs are filed (lib/filing, lib/turns).
local left, mended, recount, highest = 300, {}, {}, 0

local function mend(what, number)
  if number > 0 then mended[what] = (mended[what] or 0) + number end
end

local function member(job)
  local _, _, lead = place(job)
  return lead and lead .. job.arrival or job.arrival
end

-- The mode that the queue's limits ask for, whatever the tick record has.
local function mode_as_set()
  local said, known = redis.call('HGET', key('q'), 'limits'), read_mode()
  local mode = said and string.byte(said) or 0
  if mode > 0 and in_mode(known, HELD) then mode = mode + HELD end
  new_mode = mode ~= known and mode or false
  return mode
end

-- A row of a key of which something is taken: its head may be another one then.
local function note_row_of(suffix)
  local type, k = string.match(suffix, '^w(.-):(.*)$')
  if k then note_row(type, k) end
end

local function check_head_of_row(job)
  local row = 'w' .. job.type .. ':' .. job.key
  local first, score = foremost(row)
  if first ~= member(job) or redis.call('HEXISTS', key('q'), 'rehead') == 1 then return end  -- or it is chosen anew soon
  local stands = redis.call('HGET', key('t' .. job.key), job.type)
  if not stands then
    mend('rows of keys that no claim found', 1)
    wake = 1
    open_head(job.type, job.key, first, score)
  elseif stands == 'o' then
    if job.ends == 1 then score = -job.priority end
    mend('rows of keys that no claim found', redis.call('ZADD', key('g' .. job.type), 'CH', score, first))
  elseif is_open(stands) then
    -- An older tag is in order: the key has had a turn with another type, and a claim that comes to it sees that.
    local tag = tag_of(job.key, first)
    mend('rows of keys that no claim found',
      redis.call('ZADD', key('G' .. job.type), 'LT', 'CH', string.format('%d', tag), given_of(job.type, job.key, stands) .. first))
  else
    mend('rows of keys that no claim found', redis.call('ZADD', key('P'), 'NX', stands, job.type .. ':' .. job.key))
  end
end

local function check_filing(job)
  local filed = has(job, FILED)
  local waits = job.state == WAITING and not job.held
  if waits and filed and filing == 0 then
    mend('rows of keys that no claim found', 1)
    job.quiet = true
    touch(job)
  elseif waits and filed then
    note_row(job.type, job.key)
    check_head_of_row(job)
  elseif filed and (job.state == ACTIVE or job.ends == 1) then
    local put = job.state == ACTIVE and redis.call('ZADD', key('c' .. job.type), 'NX', job.start, job.arrival) or 0
    if job.key ~= '' then
      for _, index in ipairs({'c:' .. job.key, 'c' .. job.type .. ':' .. job.key}) do
        put = put + redis.call('ZADD', key(index), 'NX', job.start, job.arrival)
      end
    end
    mend('jobs without their place', math.min(put, 1))
  end
end

-- An index of places: of a type, a key, or both.
local function check_places(suffix)
  local type, k = string.match(suffix, '^c(.-):(.*)$')
  type = type or string.sub(suffix, 2)
  for _, one in ipairs(redis.call('ZRANGE', key(suffix), '0', '-1')) do
    local job = load((struct.unpack('>I6', one)))
    left = left - 1
    local fits = job and has(job, FILED) and (type == '' or job.type == type) and (not k or job.key == k)
    if not (fits and (job.state == ACTIVE or (k and job.ends == 1))) then
      mend('places that nobody has', redis.call('ZREM', key(suffix), one))
      if k then let_go[k] = true end
      wake = 1
    end
  end
end
