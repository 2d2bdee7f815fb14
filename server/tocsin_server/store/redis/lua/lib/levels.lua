-- levels: the order of a queue whose jobs gain a priority for each `step` that they wait, which its field `ageing` says, in
-- ms. Rows stay as they are, by -priority, and within one level of it by due time and arrival. Of two jobs the one goes
-- first whose due time + score * step is the lesser: as all of them age alike, that never changes while they wait. So a
-- claim looks at the first of each level.
local step = nil

--- @rare
local function ageing_step()
  if step == nil then
    step = in_mode(read_mode(), AGEING) and tonumber(redis.call('HGET', key('q'), 'ageing') or '') or false
  end
  return step
end

-- Of two {member, score} of rows. A difference too great to be exact is greater than any between times.
--- @rare
local function goes_first(one, other)
  if one.score == other.score then return one.member < other.member end
  if not ageing_step() or one.score == KEEPS_PLACE or other.score == KEEPS_PLACE then return one.score < other.score end
  local gained = (one.score - other.score) * step
  local older = struct.unpack('>I6', other.member) - struct.unpack('>I6', one.member)
  if gained ~= older then return gained < older end
  return one.member < other.member
end

-- The first of each level of a row; of 250 levels: more would make a claim dear.
--- @rare
local function read_levels(name)
  local found, from = {}, '-inf'
  for i = 1, 250 do
    local head = redis.call('ZRANGEBYSCORE', key(name), from, '+inf', 'WITHSCORES', 'LIMIT', '0', '1')
    if not head[1] then break end
    found[i], from = {member = head[1], score = tonumber(head[2]), nth = 0}, '(' .. head[2]
  end
  return found
end

--- @rare
local function first_among(levels)
  local first = levels[1]
  for i = 2, #levels do
    if goes_first(levels[i], first) then first = levels[i] end
  end
  return first
end

-- The one of a row of a key that goes first, and its score. Where the order is not that of the row, or was another, also
-- its levels: the head that stands for it among others is the first of one of these.
--- @rare
local function foremost(name)
  local mode = read_mode()
  if not (in_mode(mode, AGEING) or in_mode(mode, REFILING)) then
    local head = redis.call('ZRANGE', key(name), '0', '0', 'WITHSCORES')
    return head[1], head[2]
  end
  local levels = read_levels(name)
  local first = first_among(levels)
  if not first then return nil end
  return first.member, string.format('%d', first.score), levels
end

-- How many members of a row come before this one of this score, which need not stand there: equal scores sort by bytes.
-- Not by ZRANK: it is not among the commands that users of older servers are allowed.
local function rank(row, score, member)
  local low = redis.call('ZCOUNT', row, '-inf', '(' .. score)
  local high = low + redis.call('ZCOUNT', row, score, score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', row, middle, middle)[1] < member then low = middle + 1 else high = middle end
  end
  return low
end

-- The same by the order in which jobs go.
--- @rare
local function turn_in_row(name, score, member)
  if not ageing_step() or score == KEEPS_PLACE then return rank(key(name), string.format('%d', score), member) end
  local due, before = struct.unpack('>I6', member), 0
  for _, level in ipairs(read_levels(name)) do
    local bound, of = member, string.format('%d', level.score)
    if level.score == KEEPS_PLACE then
      bound = string.rep('\255', 12)
    elseif level.score ~= score then
      local last = due - (level.score - score) * step  -- who is due then goes together with this one, the older first
      if last < due then last = last + 1 end
      bound = struct.pack('>I6', math.max(0, math.min(last, 281474976710655)))
    end
    before = before + rank(key(name), of, bound) - redis.call('ZCOUNT', key(name), '-inf', '(' .. of)
  end
  return before
end
