package auth

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// maxClaims bounds the members of a token's claims.
const maxClaims = 256

// maxNumericDate is the last second of the year 9999.
const maxNumericDate = 253402300799

// identity reads the claims of a token whose signature is good, and checks
// them against now. Claims that decide about anything must have the right
// type; name, email and roles are only shown, and ignored if they don't.
// null counts as absent, except that permissions of null are none.
func (j *JWT) identity(claims []byte, now time.Time) (*holdfast.Identity, error) {
	c, err := readClaims(claims, j.userClaim)
	if err != nil {
		return nil, err
	}
	return j.check(c, now)
}

// check makes claims that were read an identity, or refuses them.
func (j *JWT) check(c *tokenClaims, now time.Time) (*holdfast.Identity, error) {
	switch { // the issuer first: a token that was never good has not expired
	case j.issuer != "" && c.issuer != j.issuer:
		return nil, refuse("token is of another issuer", nil)
	case len(j.audience) > 0 && !slices.ContainsFunc(c.audience, func(a string) bool { return slices.Contains(j.audience, a) }):
		return nil, refuse("token is for another audience", nil)
	case c.expires.IsZero():
		return nil, refuse("token has no expiry", nil)
	case c.expires.Sub(now) > j.maxLifetime+j.leeway,
		!c.issuedAt.IsZero() && c.expires.Sub(c.issuedAt) > j.maxLifetime+j.leeway:
		return nil, refuse("token lives too long", nil)
	case c.notBefore.After(now.Add(j.leeway)):
		return nil, refuse("token is not valid yet", nil)
	case c.issuedAt.After(now.Add(j.leeway)):
		return nil, refuse("token is from the future", nil)
	}
	if err := checkUser(c.user); err != nil {
		return nil, err
	}
	if !now.Before(c.expires.Add(j.leeway)) {
		return nil, holdfast.TokenExpired.New()
	}
	id := &holdfast.Identity{
		User: c.user, Name: c.name, Email: c.email, Roles: c.roles,
		Session: c.session, TokenID: c.tokenID, Issuer: c.issuer, PermissionVersion: c.permissionVersion,
		IssuedAt: c.issuedAt, Expires: c.expires,
		Permissions: holdfast.Permissions{Rooms: j.defaultRooms, Actions: c.actions},
	}
	if c.rooms != nil {
		id.Permissions.Rooms = *c.rooms
	}
	return id, nil
}

func checkUser(user string) error {
	switch {
	case user == "":
		return refuse("token has no user", nil)
	case len(user) > maxUser || strings.ContainsFunc(user, unicode.IsControl):
		return refuse("token has no usable user", nil)
	}
	return nil
}

// tokenClaims are the claims that mean something here.
type tokenClaims struct {
	user                         string
	name, email                  string
	roles                        []string
	session, tokenID, issuer     string
	audience                     []string
	issuedAt, notBefore, expires time.Time // zero: absent
	permissionVersion            *int64
	rooms                        *holdfast.RoomPermissions // nil: absent
	actions                      []string
}

func readClaims(data []byte, userClaim string) (*tokenClaims, error) {
	if err := jsonscan.Check(data, jsonscan.Limits{}); err != nil {
		return nil, refuse("malformed claims", err)
	}
	if first := skipSpace(data, 0); data[first] != '{' {
		return nil, refuse("malformed claims", nil)
	}
	c := &tokenClaims{}
	names := make([]string, 0, 16)
	for name, value := range members(data) {
		if err := checkName(name, names, "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "pv", "permissions", userClaim); err != nil {
			return nil, refuse("malformed claims", err)
		}
		names = append(names, name)
		if !c.set(name, value, name == userClaim) {
			return nil, refuse("malformed claims", errors.New("auth: a claim is of the wrong type"))
		}
	}
	return c, nil
}

// checkName refuses a name that is among those before it, or that differs in
// case alone from one of them or from a decisive one: another reader of the
// token could take one for the other.
func checkName(name string, before []string, decisive ...string) error {
	if len(before) >= maxClaims {
		return errors.New("auth: too many claims")
	}
	for _, other := range before {
		if strings.EqualFold(other, name) {
			return errors.New("auth: a claim is there twice")
		}
	}
	for _, other := range decisive {
		if other != name && strings.EqualFold(other, name) {
			return errors.New("auth: a claim is spelled in another case")
		}
	}
	return nil
}

// set takes one claim and reports whether its type is right.
func (c *tokenClaims) set(name string, value json.RawMessage, isUser bool) bool {
	if isUser && !readUser(value, name, &c.user) {
		return false
	}
	if name == "permissions" {
		return c.setPermissions(value)
	}
	if string(value) == "null" {
		return true
	}
	switch name {
	case "iss":
		return readString(value, &c.issuer)
	case "aud":
		return readStrings(value, &c.audience)
	case "exp":
		return readDate(value, &c.expires)
	case "nbf":
		return readDate(value, &c.notBefore)
	case "iat":
		return readDate(value, &c.issuedAt)
	case "jti":
		return readString(value, &c.tokenID)
	case "sid":
		return readString(value, &c.session)
	case "pv":
		v, err := strconv.ParseInt(string(value), 10, 64)
		c.permissionVersion = &v
		return err == nil
	case "name":
		readString(value, &c.name)
	case "email":
		readString(value, &c.email)
	case "roles":
		readStrings(value, &c.roles)
	}
	return true
}

func (c *tokenClaims) setPermissions(value json.RawMessage) bool {
	if string(value) == "null" {
		c.rooms = &holdfast.RoomPermissions{}
		return true
	}
	if value[0] != '{' {
		return false
	}
	var names []string
	for name, value := range members(value) {
		if checkName(name, names, "rooms", "actions") != nil {
			return false
		}
		names = append(names, name)
		switch name {
		case "rooms":
			rooms, ok := readRooms(value)
			if !ok {
				return false
			}
			c.rooms = &rooms
		case "actions":
			if string(value) != "null" && (value[0] != '[' || !readStrings(value, &c.actions)) {
				return false
			}
		}
	}
	return true
}

// readRooms reads what holdfast.ParseRoomPermissions does, and null, which means
// none, of JSON that was checked before. It is done for each admission, and
// reflection took a tenth of its time.
func readRooms(value json.RawMessage) (rooms holdfast.RoomPermissions, ok bool) {
	var err error
	switch value[0] {
	case 'n':
		return rooms, true
	case '[':
		var patterns []string
		if !readList(value, &patterns) {
			return rooms, false
		}
		rooms, err = holdfast.RoomList(patterns...)
	case '{':
		grants := make(map[string][]string)
		for pattern, value := range members(value) {
			_, twice := grants[pattern]
			var verbs []string
			if twice || !readList(value, &verbs) {
				return rooms, false
			}
			grants[pattern] = verbs
		}
		rooms, err = holdfast.RoomMap(grants)
	default:
		return rooms, false
	}
	return rooms, err == nil
}

// readUser reads a string, or under a name other than sub a whole number.
func readUser(value json.RawMessage, name string, to *string) bool {
	if readString(value, to) {
		return true
	}
	if _, err := strconv.ParseInt(string(value), 10, 64); err != nil || name == "sub" {
		return false
	}
	*to = string(value)
	return true
}

func readString(value json.RawMessage, to *string) bool {
	if value[0] != '"' {
		return false
	}
	*to = string(jsonscan.Unquote(value))
	return true
}

// readStrings reads a list of strings, or one string as a list of itself.
func readStrings(value json.RawMessage, to *[]string) bool {
	var one string
	if readString(value, &one) {
		*to = []string{one}
		return true
	}
	return readList(value, to)
}

// readList reads a list of strings.
func readList(value json.RawMessage, to *[]string) bool {
	elements, err := jsonscan.Split(value)
	if err != nil {
		return false
	}
	list := make([]string, len(elements))
	for i, e := range elements {
		if !readString(e, &list[i]) {
			return false
		}
	}
	*to = list
	return true
}

// readDate reads a NumericDate: seconds since 1970, perhaps with a fraction
// (RFC 7519 §2), up to the year 9999.
func readDate(value json.RawMessage, to *time.Time) bool {
	text := string(value)
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		*to = time.Unix(seconds, 0)
		return seconds >= 0 && seconds <= maxNumericDate
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0 && seconds <= maxNumericDate) { // NaN is neither
		return false
	}
	whole, fraction := math.Modf(seconds)
	*to = time.Unix(int64(whole), int64(fraction*1e9))
	return true
}
