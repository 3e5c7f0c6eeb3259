// TanStack Start makes this file of the routes.
export { Route as routeTree } from "./routes/__root";
