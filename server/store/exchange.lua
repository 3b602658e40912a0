-- One exchange of one replica, as scheduler/sharing.py specifies it (class Shared; a test compares the two).
-- KEYS: members, totals, last served, the last batch counted of this replica. ARGV: the message as JSON, and the terms
-- (lease, keep: milliseconds; tenants). The answer is JSON. Times are those of this server.
-- members: replica -> what was last heard of it (MessagePack); '' -> the store's clock and when it was last read.

local HOUR, LARGEST, REST, PARTS = 3600000, 1000000, '*', 1000
local message = cjson.decode(ARGV[1])
local lease, keep, tenants = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local me = message.replica
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function sum_of(map)
  local sum = 0
  for _, value in pairs(map) do sum = sum + value end
  return sum
end

-- Names in falling order of their value; ties go by name.
local function by_value(map)
  local names = names_of(map)
  table.sort(names, function(a, b)
    if map[a] ~= map[b] then return map[a] > map[b] end
    return a < b
  end)
  return names
end

-- scheduler/wants.py: what several want together; a want is {waiting, running, weight}.
local function merged(each)
  local total = {}
  for _, wants in ipairs(each) do
    for tenant, want in pairs(wants) do
      local sum = total[tenant] or {0, 0, 0}
      local weight = tenant == REST and sum[3] + want[3] or math.max(sum[3], want[3])
      total[tenant] = {sum[1] + want[1], sum[2] + want[2], weight}
    end
  end
  return total
end

-- scheduler/wants.py: fill; and scheduler/shares.py: claims
local function claims_of(capacity, wants)
  local each, found, portions = {}, {}, {}
  for place, name in ipairs(names_of(wants)) do each[place] = wants[name] end
  local tenants = merged(each)
  local rest, left, part = names_of(tenants), capacity, 0
  while #rest > 0 do
    local total, crowd = 0, {}
    for _, tenant in ipairs(rest) do total = total + tenants[tenant][3] end
    part = left / total
    for _, tenant in ipairs(rest) do
      local demand = tenants[tenant][1] + tenants[tenant][2]
      if demand <= part * tenants[tenant][3] then left = left - demand else crowd[#crowd + 1] = tenant end
    end
    if #crowd == #rest then break end
    rest = crowd
  end
  for _, tenant in ipairs(rest) do
    portions[tenant] = part * tenants[tenant][3] / (tenants[tenant][1] + tenants[tenant][2])
  end
  for name, own in pairs(wants) do
    local claim = 0
    for _, tenant in ipairs(names_of(own)) do
      claim = claim + (own[tenant][1] + own[tenant][2]) * (portions[tenant] or 1)
    end
    found[name] = math.floor(claim * PARTS + 0.5)
  end
  return found
end

-- scheduler/shares.py: _short and _proportional
local function short(capacity, wants)
  local shares, rest, claims, fell = {}, {}, {}, true
  for name, own in pairs(wants) do rest[name] = own end
  while fell do
    claims, fell = claims_of(capacity, rest), false
    for name, claim in pairs(claims) do
      if claim < PARTS then shares[name], rest[name], capacity, fell = 1, nil, capacity - 1, true end
    end
  end
  local total, left, remainders = sum_of(claims), capacity, {}
  for name, claim in pairs(claims) do
    remainders[name] = math.fmod(capacity * claim, total)
    shares[name] = (capacity * claim - remainders[name]) / total
    left = left - shares[name]
  end
  local first = by_value(remainders)
  for place = 1, left do shares[first[place]] = shares[first[place]] + 1 end
  return shares
end

-- scheduler/shares.py: divide
local function divide(capacity, wants)
  local names, shares, demands, spare = names_of(wants), {}, {}, capacity
  for name, own in pairs(wants) do
    demands[name] = 0
    for _, want in pairs(own) do demands[name] = demands[name] + want[1] + want[2] end
    spare = spare - math.max(1, demands[name])
  end
  if capacity < #names then
    for place, name in ipairs(by_value(demands)) do shares[name] = place <= capacity and 1 or 0 end
    return shares
  end
  if spare < 0 then return short(capacity, wants) end
  local larger = math.fmod(spare, #names)
  for place, name in ipairs(names) do
    shares[name] = math.max(1, demands[name]) + (spare - larger) / #names + (place <= larger and 1 or 0)
  end
  return shares
end

-- The clock, and the replicas whose leases run.
local members, clock = {}, {at = 0, last = now}
local stored = redis.call('HGETALL', KEYS[1])
for place = 1, #stored, 2 do
  if stored[place] == '' then clock = cmsgpack.unpack(stored[place + 1])
  else members[stored[place]] = cmsgpack.unpack(stored[place + 1]) end
end
local period = math.max(1, math.floor(lease / 4))
clock.at = clock.at + math.min(math.max(0, now - clock.last), period)
clock.last = now
redis.call('HSET', KEYS[1], '', cmsgpack.pack(clock))
redis.call('PEXPIRE', KEYS[1], HOUR)
for name, seen in pairs(members) do
  if clock.at - seen.at > lease then
    redis.call('HDEL', KEYS[1], name)
    members[name] = nil
  end
end
local before = members[me]
if before and before.sequence >= message.sequence then
  return cjson.encode({sequence = message.sequence, now = now, late = true})
end

-- scheduler/sharing.py: Load.wants; replicas of before told no tenants.
local function wants_of(load)
  if next(load.tenants or {}) then return load.tenants end
  return load.demand > 0 and {[REST] = {load.demand, 0, 1}} or {}
end

-- What this replica may have, and what it may be using at most.
local settling, slots, claims = clock.at < lease, {}, {}
for backend, claim in pairs(message.claims) do
  local capacity, others, wants = claim.capacity, 0, {}
  for name, seen in pairs(members) do
    local load = name ~= me and seen.claims[backend]
    if load then
      capacity = math.min(capacity, load.capacity)
      others = others + load.charge
      wants[name] = wants_of(load)
    end
  end
  wants[me] = wants_of(claim)
  local granted = math.min(divide(capacity, wants)[me], math.max(0, capacity - others))
  if settling then granted = math.min(granted, claim.held) end
  slots[backend] = granted
  claims[backend] = {
    capacity = claim.capacity,
    demand = claim.demand,
    tenants = claim.tenants,
    charge = math.max(granted, claim.held, claim.in_use),
  }
end
local verdicts = {}
for backend, till in pairs(before and before.down or {}) do
  if till > clock.at then verdicts[backend] = till end
end
for _, backend in ipairs(message.down) do verdicts[backend] = clock.at + lease end
members[me] = {
  at = clock.at, sequence = message.sequence, claims = claims, pressures = message.pressures, down = verdicts,
}
redis.call('HSET', KEYS[1], me, cmsgpack.pack(members[me]))

-- Tokens by pool and tenant: forget the idle, count a batch once, keep no more than the bound.
local function forget(labels)
  for _, label in ipairs(labels) do
    redis.call('HDEL', KEYS[2], label)
    redis.call('ZREM', KEYS[3], label)
  end
end

-- The part of a label that names its pool: '2:p1' of '2:p1ada'.
local function pool_of(label)
  local size = string.match(label, '^%d+')
  return string.sub(label, 1, #size + 1 + tonumber(size))
end

local function totals_of()
  local totals, flat = {}, redis.call('HGETALL', KEYS[2])
  for place = 1, #flat, 2 do totals[flat[place]] = tonumber(flat[place + 1]) end
  return totals
end

forget(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', string.format('(%d', now - keep)))
local totals = totals_of()
if message.batch > tonumber(redis.call('GET', KEYS[4]) or 0) then
  local lowest = {}
  for label, total in pairs(totals) do
    local pool = pool_of(label)
    lowest[pool] = math.min(total, lowest[pool] or total)
  end
  for label, count in pairs(message.served) do
    local total = (totals[label] or lowest[pool_of(label)] or 0) + count
    redis.call('HSET', KEYS[2], label, string.format('%.0f', total))
    redis.call('ZADD', KEYS[3], now, label)
  end
  redis.call('SET', KEYS[4], message.batch, 'PX', HOUR)
  local excess = redis.call('ZCARD', KEYS[3]) - tenants
  if excess > 0 then forget(redis.call('ZRANGE', KEYS[3], 0, excess - 1)) end
  redis.call('PEXPIRE', KEYS[2], keep + HOUR)
  redis.call('PEXPIRE', KEYS[3], keep + HOUR)
  totals = totals_of()
end

-- What the others say.
local prices, others, down = {}, {}, {}
local names = names_of(members)
for pool in pairs(message.pressures) do
  local top, bottom, slots_of_others, each = 0, 0, 0, {}
  for _, name in ipairs(names) do
    local pressure = members[name].pressures[pool]
    if pressure then
      local weight = math.max(1, pressure.demand)
      top = top + weight * pressure.value
      bottom = bottom + weight
    end
    if pressure and name ~= me then
      slots_of_others = slots_of_others + (pressure.slots or 0)
      each[#each + 1] = pressure.tenants or {}
    end
  end
  others[pool] = {slots = slots_of_others, tenants = merged(each)}
  for _, want in pairs(others[pool].tenants) do
    want[1], want[2] = math.min(LARGEST, want[1]), math.min(LARGEST, want[2])
    want[3] = string.format('%.17g', want[3])
  end
  prices[pool] = string.format('%.17g', top / bottom)
end
for _, name in ipairs(names) do
  for backend, till in pairs(name ~= me and members[name].down or {}) do
    if till > clock.at then down[backend] = true end
  end
end
return cjson.encode({
  sequence = message.sequence, now = now, slots = slots, served = totals, prices = prices, down = down,
  replicas = #names, settling = settling, others = others,
})
