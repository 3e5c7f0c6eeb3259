export {
  AuthGuard,
  AuthProvider,
  GuestGuard,
  RealtimeProvider,
  RoleGuard,
  useAuth,
  useHttpClient,
  useRealtimeClient,
} from "./providers.js";
export type { Auth, AuthProviderProps, GuardProps, RealtimeProviderProps, RoleGuardProps } from "./providers.js";
export {
  useConnectionState,
  useCursors,
  usePresence,
  useRoom,
  useRoomEvent,
  useSocketClient,
  useSocketEvent,
  useTyping,
} from "./hooks.js";
export type { Cursor, Cursors, RoomState, SocketClient, Typing } from "./hooks.js";
export type { AuthState, AuthStore, ClientLike, Events, Register, SignIn } from "./types.js";
