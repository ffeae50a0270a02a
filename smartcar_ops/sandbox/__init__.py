"""A pretend Smartcar: both API versions, its own people and cars, and the company that is its customer.

It imports nothing from the other rooms of the kit, so that a bug cannot agree with itself. Importing this
package loads neither the server nor the database; take what you need from the modules.
"""
